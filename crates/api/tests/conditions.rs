//! Conditions: times move only with the status, and `Ready` is the conjunction of the others.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

use awsiam_api::conditions::{
    self, API_SERVER_CONFIGURED, AWS_AUTH_SYNCED, NODE_ENTRIES_LOST, READY, Status, TARGET_REACHABLE, ready,
    same_but_for_times, set_condition,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

fn at(second: i64) -> Time {
    Time(Timestamp::from_second(second).unwrap())
}

fn list(items: &[(&str, Status, &str)]) -> Vec<Condition> {
    let mut conditions = Vec::new();
    for (kind, status, reason) in items {
        set_condition(&mut conditions, &at(0), Some(1), kind, *status, reason, format!("{reason} is why"));
    }
    conditions
}

#[test]
fn the_time_moves_only_when_the_status_changes() {
    let mut conditions = list(&[(AWS_AUTH_SYNCED, Status::False, "Conflict")]);
    set_condition(&mut conditions, &at(5), Some(2), AWS_AUTH_SYNCED, Status::False, "Unreadable", "other");
    assert_eq!(conditions[0].last_transition_time, at(0));
    assert_eq!((conditions[0].reason.as_str(), conditions[0].observed_generation), ("Unreadable", Some(2)));
    set_condition(&mut conditions, &at(6), Some(2), AWS_AUTH_SYNCED, Status::True, "Synced", "");
    assert_eq!(conditions[0].last_transition_time, at(6));
    assert_eq!(conditions.len(), 1);
}

#[test]
fn ready_stands_first_and_the_others_in_a_fixed_order() {
    let items = [
        (TARGET_REACHABLE, Status::True, "Reachable"),
        (READY, Status::True, "Ready"),
        (AWS_AUTH_SYNCED, Status::True, "Synced"),
    ];
    let kinds: Vec<String> = list(&items).into_iter().map(|condition| condition.type_).collect();
    assert_eq!(kinds, [READY, AWS_AUTH_SYNCED, TARGET_REACHABLE]);
}

#[test]
fn lists_are_compared_without_times_and_order() {
    let one = list(&[(READY, Status::True, "Ready"), (AWS_AUTH_SYNCED, Status::True, "Synced")]);
    let mut other = one.clone();
    other.reverse();
    other[0].last_transition_time = at(99);
    assert!(same_but_for_times(&one, &other));
    other[0].message = "something else".to_owned();
    assert!(!same_but_for_times(&one, &other));
    assert!(!same_but_for_times(&one, &one[..1]));
}

#[test]
fn ready_is_the_conjunction_of_those_present() {
    let all_good =
        list(&[(TARGET_REACHABLE, Status::True, "Reachable"), (AWS_AUTH_SYNCED, Status::True, "Synced")]);
    assert_eq!(ready(&all_good).0, Status::True);

    let open = [
        (AWS_AUTH_SYNCED, Status::True, "Synced"),
        (API_SERVER_CONFIGURED, Status::Unknown, "WaitingForAdministrator"),
    ];
    assert_eq!(ready(&list(&open)).0, Status::Unknown);
    assert_eq!(ready(&list(&open)).1, "WaitingForAdministrator");

    let bad = [open[1], (AWS_AUTH_SYNCED, Status::False, "Conflict")];
    let (status, reason, message) = ready(&list(&bad));
    assert_eq!((status, reason.as_str()), (Status::False, "Conflict"));
    assert_eq!(message, "AwsAuthSynced: Conflict is why");

    assert_eq!(ready(&[]).0, Status::Unknown);
}

#[test]
fn ready_does_not_look_at_itself() {
    let stale = [(READY, Status::False, "Conflict"), (AWS_AUTH_SYNCED, Status::True, "Synced")];
    assert_eq!(ready(&list(&stale)).0, Status::True);
}

#[test]
fn lost_node_entries_are_bad_when_true() {
    let lost =
        [(AWS_AUTH_SYNCED, Status::True, "Synced"), (NODE_ENTRIES_LOST, Status::True, "NoNodeEntries")];
    assert_eq!(ready(&list(&lost)).0, Status::False);
    let there = [(NODE_ENTRIES_LOST, Status::False, "NodeEntriesPresent")];
    assert_eq!(ready(&list(&there)).0, Status::True);
}

#[test]
fn a_condition_that_does_not_apply_is_taken_out() {
    let mut conditions = list(&[(READY, Status::True, "Ready"), (AWS_AUTH_SYNCED, Status::True, "Synced")]);
    conditions::remove_condition(&mut conditions, AWS_AUTH_SYNCED);
    assert_eq!(conditions::condition(&conditions, AWS_AUTH_SYNCED), None);
    assert!(conditions::condition(&conditions, READY).is_some());
}
