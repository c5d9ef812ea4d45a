//! When a target gets another image that only the catalogue asks for: one target at a time, and no other before it is
//! ready with it. Only the decision; nothing is remembered, all of it follows from what is there.

use k8s_openapi::api::apps::v1::DaemonSet;

use crate::image::{Image, Source};
use crate::names::{IMAGE, IMAGE_SOURCE, NAME};

/// The image that a DaemonSet was given last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Whole reference.
    pub reference: String,
    /// What asked for it, in the words of [`Source`]; none where that is not recorded.
    pub source: Option<String>,
}

impl Given {
    /// What stands in a DaemonSet: what was recorded, and not what somebody else put in since; where nothing is recorded,
    /// what runs. None where it runs no authenticator.
    #[must_use]
    pub fn of(daemon_set: &DaemonSet) -> Option<Self> {
        let annotation = |name| daemon_set.metadata.annotations.as_ref()?.get(name).cloned();
        let running = || {
            let pod = daemon_set.spec.as_ref()?.template.spec.as_ref()?;
            pod.containers.iter().find(|container| container.name == NAME)?.image.clone()
        };
        let reference = annotation(IMAGE).or_else(running)?;
        Some(Self { reference, source: annotation(IMAGE_SOURCE) })
    }
}

/// How a target stands.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// The image that it was given last; none where no DaemonSet of ours is there.
    pub given: Option<&'a Given>,
    /// The one that it is to have.
    pub wanted: &'a Image,
    /// Whether the authenticator runs on every control-plane node as it should.
    pub is_ready: bool,
    /// Whether its turn has begun and is not over.
    pub has_turn: bool,
    /// The targets whose turn has begun and is not over; this one aside.
    pub others: &'a [String],
}

/// What becomes of a target's image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It gets the wanted one, or has it: that is no turn.
    Free,
    /// It gets the wanted one, and its turn begins before that.
    Begin,
    /// It gets the wanted one, or has got it, and its turn is not over.
    UnderWay,
    /// It is ready with the wanted one: its turn is over.
    Over,
    /// It keeps the one it has while the turn of these is not over.
    After(Vec<String>),
    /// It keeps the one it has until it is ready with that.
    PassedOver,
}

impl Decision {
    /// Whether the target keeps the image that it was given last.
    #[must_use]
    pub fn keeps(&self) -> bool {
        matches!(self, Decision::After(_) | Decision::PassedOver)
    }
}

/// What becomes of a target's image now.
#[must_use]
pub fn decide(standing: &Standing<'_>) -> Decision {
    let Standing { given, wanted, is_ready, has_turn, others } = *standing;
    let is_due = given.is_some_and(|given| given.reference != wanted.reference);
    match given {
        _ if has_turn && !is_due && given.is_some() && is_ready => Decision::Over,
        _ if has_turn => Decision::UnderWay,
        Some(given) if is_due && !is_asked_for(given, wanted) => match others {
            _ if !is_ready => Decision::PassedOver,
            [] => Decision::Begin,
            others => Decision::After(others.to_vec()),
        },
        _ => Decision::Free,
    }
}

/// Whether the Cluster asks for the difference: it names the image, or has ceased to, or another version of Kubernetes.
fn is_asked_for(given: &Given, wanted: &Image) -> bool {
    wanted.source == Source::Cluster
        || given.source.as_ref().is_some_and(|source| *source != wanted.source.to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::image::{ImagePolicy, choose};

    fn policy(mirror: &str) -> ImagePolicy {
        ImagePolicy {
            mirror: Some(mirror.to_owned()),
            allowed_prefixes: vec!["r.example.com/aia".to_owned()],
        }
    }

    fn image(mirror: &str, version: Option<&str>) -> Image {
        choose(None, version, &policy(mirror)).unwrap()
    }

    fn given(image: &Image) -> Given {
        Given { reference: image.reference.clone(), source: Some(image.source.to_string()) }
    }

    /// A target as a rollout meets it.
    #[derive(Clone)]
    struct Target {
        given: Given,
        is_ready: bool,
        has_turn: bool,
    }

    fn decided(target: &Target, wanted: &Image, others: &[String]) -> Decision {
        let Target { given, is_ready, has_turn } = target;
        let given = Some(given);
        decide(&Standing { given, wanted, is_ready: *is_ready, has_turn: *has_turn, others })
    }

    /// One look at each target that answers, in this order; what each is given breaks or does not.
    fn look_around(targets: &mut BTreeMap<String, Target>, wanted: &Image, breaks: &dyn Fn(&str) -> bool) {
        let names: Vec<String> = targets.keys().cloned().collect();
        for name in names {
            let others: Vec<String> = targets
                .iter()
                .filter(|(other, t)| **other != name && t.has_turn)
                .map(|(n, _)| n.clone())
                .collect();
            let target = targets.get_mut(&name).unwrap();
            match decided(target, wanted, &others) {
                Decision::Begin => {
                    assert!(others.is_empty() && target.is_ready);
                    (target.given, target.has_turn, target.is_ready) = (given(wanted), true, false);
                }
                Decision::UnderWay => {
                    target.given = given(wanted);
                    target.is_ready = !breaks(&name);
                }
                Decision::Over => target.has_turn = false,
                Decision::Free => target.given = given(wanted),
                Decision::After(whom) => assert_eq!(whom, others),
                Decision::PassedOver => assert!(!target.is_ready),
            }
            assert!(targets.values().filter(|t| t.has_turn).count() <= 1);
        }
    }

    fn fleet(of: &Image) -> BTreeMap<String, Target> {
        let target = Target { given: given(of), is_ready: true, has_turn: false };
        (0..10).map(|number| (format!("default/cluster-{number}"), target.clone())).collect()
    }

    #[test]
    fn ten_targets_get_it_one_after_the_other_and_one_that_was_not_ready_before_does_not() {
        let (old, new) = (image("old", Some("1.33")), image("new", Some("1.33")));
        let mut targets = fleet(&old);
        targets.get_mut("default/cluster-3").unwrap().is_ready = false;
        for _ in 0..40 {
            look_around(&mut targets, &new, &|_| false);
        }
        let left: Vec<_> =
            targets.iter().filter(|(_, t)| t.given != given(&new)).map(|(n, _)| n.as_str()).collect();
        assert_eq!(left, ["default/cluster-3"]);
        targets.get_mut("default/cluster-3").unwrap().is_ready = true;
        for _ in 0..4 {
            look_around(&mut targets, &new, &|_| false);
        }
        assert!(targets.values().all(|t| t.given == given(&new) && t.is_ready && !t.has_turn));
    }

    #[test]
    fn one_that_is_not_ready_with_it_stops_the_rest_and_gets_what_an_older_catalogue_gives_at_once() {
        let (old, new) = (image("old", Some("1.33")), image("new", Some("1.33")));
        let mut targets = fleet(&old);
        for _ in 0..40 {
            look_around(&mut targets, &new, &|name| name == "default/cluster-2");
        }
        let with_new =
            |targets: &BTreeMap<String, Target>| targets.values().filter(|t| t.given == given(&new)).count();
        assert_eq!(with_new(&targets), 3);
        // The operator of before is put back.
        look_around(&mut targets, &old, &|_| false);
        assert_eq!(targets["default/cluster-2"].given, given(&old));
        for _ in 0..10 {
            look_around(&mut targets, &old, &|_| false);
        }
        assert_eq!(with_new(&targets), 0);
    }

    #[test]
    fn what_a_cluster_asks_for_waits_for_nobody() {
        let (old, new) = (image("old", Some("1.33")), image("new", Some("1.33")));
        let others = ["default/other".to_owned()];
        let named = choose(Some("r.example.com/aia:1"), None, &policy("x")).unwrap();
        let cases = [
            (Some(given(&old)), image("new", Some("1.34")), "another version"),
            (Some(given(&old)), image("new", None), "no version any more"),
            (Some(given(&old)), named.clone(), "an image of its own"),
            (Some(given(&named)), new.clone(), "no image of its own any more"),
            (Some(given(&new)), new.clone(), "nothing new"),
            (None, new.clone(), "the first installation"),
        ];
        for (given, wanted, what) in cases {
            for is_ready in [true, false] {
                let given = given.as_ref();
                let standing =
                    Standing { given, wanted: &wanted, is_ready, has_turn: false, others: &others };
                assert_eq!(decide(&standing), Decision::Free, "{what}");
            }
        }
        // What was installed before anything was recorded waits.
        let unrecorded = Given { source: None, ..given(&old) };
        let standing = Standing {
            given: Some(&unrecorded),
            wanted: &new,
            is_ready: true,
            has_turn: false,
            others: &others,
        };
        assert_eq!(decide(&standing), Decision::After(others.to_vec()));
    }

    #[test]
    fn a_turn_goes_on_until_the_authenticator_is_there_and_ready() {
        let (old, new) = (image("old", Some("1.33")), image("new", Some("1.33")));
        for (given, is_ready, expected) in [
            // Its turn was noted, and then the operator died before it wrote.
            (Some(given(&old)), true, Decision::UnderWay),
            (Some(given(&new)), false, Decision::UnderWay),
            (None, true, Decision::UnderWay),
            (Some(given(&new)), true, Decision::Over),
        ] {
            let standing =
                Standing { given: given.as_ref(), wanted: &new, is_ready, has_turn: true, others: &[] };
            assert_eq!(decide(&standing), expected, "{given:?} {is_ready}");
        }
    }

    #[test]
    fn what_was_given_is_what_was_recorded() {
        let object = |annotations: serde_json::Value| -> DaemonSet {
            serde_json::from_value(serde_json::json!({"metadata": {"annotations": annotations}, "spec": {
                "selector": {}, "template": {"spec": {"containers": [
                    {"name": "mappings", "image": "probe"}, {"name": NAME, "image": "edited"}]}}}}))
            .unwrap()
        };
        let recorded =
            Given::of(&object(serde_json::json!({IMAGE: "a:1", IMAGE_SOURCE: "catalogue, newest"}))).unwrap();
        assert_eq!(
            (recorded.reference.as_str(), recorded.source.as_deref()),
            ("a:1", Some("catalogue, newest"))
        );
        let running = Given::of(&object(serde_json::json!({}))).unwrap();
        assert_eq!((running.reference.as_str(), running.source), ("edited", None));
        assert_eq!(Given::of(&DaemonSet::default()), None);
    }
}
