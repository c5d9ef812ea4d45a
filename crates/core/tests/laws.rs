//! Laws that hold whatever stands in `aws-auth` and whatever is asked for.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has failed"
)]

mod support;
#[path = "support/texts.rs"]
mod texts;
#[path = "support/wishes.rs"]
mod wishes;

use awsiam_core::mapping::List;
use proptest::prelude::*;
use support::checks::{self, Texts};
use wishes::wishes;

fn data(text: fn(List) -> BoxedStrategy<Option<String>>) -> impl Strategy<Value = Texts> {
    (text(List::Roles), text(List::Users), text(List::Accounts)).prop_map(|(roles, users, accounts)| {
        let texts = [(List::Roles, roles), (List::Users, users), (List::Accounts, accounts)];
        texts.into_iter().filter_map(|(list, text)| Some((list.data_key().to_owned(), text?))).collect()
    })
}

/// Cases of each law; more of them with `PROPTEST_CASES`.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(128)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn realistic_texts_keep_foreign_bytes(data in data(texts::text), wishes in wishes()) {
        checks::foreign_bytes_survive(&data, &wishes);
    }

    #[test]
    fn damaged_texts_keep_foreign_bytes(data in data(texts::damaged), wishes in wishes()) {
        checks::foreign_bytes_survive(&data, &wishes);
    }

    #[test]
    fn adoption_takes_nothing_else(data in data(texts::text), wishes in wishes()) {
        checks::the_rest_survives_adoption(&data, &wishes);
    }

    #[test]
    fn plans_are_sound_after_foreign_writes(
        before in data(texts::text), between in data(texts::damaged), wishes in wishes()
    ) {
        checks::others_may_write_between(&before, &between, &wishes);
    }

    #[test]
    fn reading_and_laying_out_never_fails_badly(
        text in prop_oneof![texts::text(List::Roles), texts::damaged(List::Roles)],
    ) {
        checks::reads(&text.unwrap_or_default());
    }
}
