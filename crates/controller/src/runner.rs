//! Runs passes: each object that something happened to has one, at once, and never two at a time.
//!
//! kube's `Controller` does the same but for "at once": it hands what is due now to a timer, which rounds it up to a
//! later millisecond, twice. Its scheduler is what runs here, too; it is told that what is due now was due a moment ago.

use std::collections::HashSet;
use std::future::poll_fn;
use std::hash::Hash;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, FuturesUnordered};
use futures::{Stream, StreamExt};
use kube::runtime::reflector::{Lookup, ObjectRef, Store};
use kube::runtime::scheduler::{ScheduleRequest, scheduler};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// More than what the timers round by: a millisecond each.
const A_MOMENT: Duration = Duration::from_millis(4);

/// When an object has its next pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// When something happens to it.
    OnChange,
    /// After this, or earlier when something happens to it.
    After(Duration),
}

/// Runs `pass` for what is `due`, with the object as it is in the store by then; an object that has gone has none. What
/// becomes due during its pass has another one behind it. Nothing begins before the store has been filled, which is what
/// reading `due` may do.
///
/// Returns when `stop` is cancelled and the passes that had begun are through.
pub(crate) async fn run<K, F>(
    due: impl Stream<Item = ObjectRef<K>>,
    store: &Store<K>,
    pass: impl Fn(Arc<K>) -> F,
    stop: &CancellationToken,
) where
    K: Lookup + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone,
    F: Future<Output = Next>,
{
    let (again, requeued) = mpsc::unbounded_channel();
    let now = due.map(|message| ScheduleRequest { message, run_at: a_moment_ago() });
    let mut queue = pin!(scheduler(stream::select(now, received(requeued))));
    let is_filled = store.wait_until_ready();
    tokio::select! {
        biased;
        () = stop.cancelled() => return,
        filled = is_filled => if filled.is_err() {
            // What fills it has ended.
            return;
        },
        // Nothing comes out of it: the store's writer is in what is due.
        _ = poll_fn(|context| queue.as_mut().hold().poll_next_unpin(context)) => return,
    }

    let mut busy = HashSet::new();
    let mut passes = FuturesUnordered::new();
    loop {
        let next = poll_fn(|context| {
            let mut free = queue.as_mut().hold_unless(|object| !busy.contains(object));
            free.poll_next_unpin(context)
        });
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some((object, next)) = passes.next() => {
                busy.remove(&object);
                if let Next::After(wait) = next {
                    let now = Instant::now();
                    let run_at = now.checked_add(wait).unwrap_or(now);
                    // The receiver lives as long as the queue.
                    let _ = again.send(ScheduleRequest { message: object, run_at });
                }
            }
            due = next => match due {
                Some(object) => if let Some(found) = store.get(&object) {
                    busy.insert(object.clone());
                    let pass = pass(found);
                    passes.push(async move { (object, pass.await) });
                },
                None => break,
            },
        }
    }
    while passes.next().await.is_some() {}
}

fn a_moment_ago() -> Instant {
    let now = Instant::now();
    now.checked_sub(A_MOMENT).unwrap_or(now)
}

/// What comes through a channel.
pub(crate) fn received<T>(queue: mpsc::UnboundedReceiver<T>) -> impl Stream<Item = T> {
    stream::unfold(queue, async |mut queue| queue.recv().await.map(|item| (item, queue)))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::ResourceExt;
    use kube::runtime::reflector::store::Writer;
    use kube::runtime::watcher::Event;
    use tokio::sync::Semaphore;
    use tokio::task::LocalSet;

    use super::*;

    type Object = ObjectRef<ConfigMap>;

    fn object(name: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.name = Some(name.to_owned());
        object.metadata.namespace = Some("ns".to_owned());
        object
    }

    fn filled(names: &[&str]) -> (Store<ConfigMap>, Writer<ConfigMap>) {
        let mut writer = Writer::default();
        writer.apply_watcher_event(&Event::Init);
        for name in names {
            writer.apply_watcher_event(&Event::InitApply(object(name)));
        }
        writer.apply_watcher_event(&Event::InitDone);
        (writer.as_reader(), writer)
    }

    fn to(name: &str) -> Object {
        ObjectRef::new(name).within("ns")
    }

    /// Passes that wait for a permit each, with the times at which they began.
    struct Passes {
        begun: RefCell<Vec<(String, Duration)>>,
        permits: Semaphore,
        next: Next,
        started: Instant,
    }

    impl Passes {
        fn new(permits: usize, next: Next) -> Self {
            let permits = Semaphore::new(permits);
            Self { begun: RefCell::default(), permits, next, started: Instant::now() }
        }

        async fn pass(&self, object: Arc<ConfigMap>) -> Next {
            self.begun.borrow_mut().push((object.name_any(), self.started.elapsed()));
            self.permits.acquire().await.unwrap().forget();
            self.next
        }

        fn begun(&self) -> Vec<(String, u128)> {
            self.begun.borrow().iter().map(|(name, at)| (name.clone(), at.as_millis())).collect()
        }
    }

    fn at(times: &[(&str, u128)]) -> Vec<(String, u128)> {
        times.iter().map(|(name, at)| ((*name).to_owned(), *at)).collect()
    }

    /// Runs `passes` while `test` goes on; returns when both are through.
    async fn beside(
        store: &Store<ConfigMap>,
        passes: &Passes,
        test: impl AsyncFnOnce(mpsc::UnboundedSender<Object>, CancellationToken),
    ) {
        let (changes, due) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let running = run(received(due), store, |object| passes.pass(object), &stop);
        let test = test(changes, stop.clone());
        LocalSet::new().run_until(futures::future::join(running, test)).await;
    }

    /// Lets everything happen that happens without time.
    async fn settle() {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_due_begins_without_a_timer() {
        let (store, _writer) = filled(&["a", "b"]);
        let passes = Passes::new(9, Next::OnChange);
        beside(&store, &passes, async |changes, stop| {
            // Timers tick by the millisecond: these are in between.
            for wait in [300, 7_100] {
                settle().await;
                tokio::time::advance(Duration::from_micros(wait)).await;
                changes.send(to("a")).unwrap();
                changes.send(to("b")).unwrap();
                settle().await;
            }
            stop.cancel();
        })
        .await;
        let mut begun = passes.begun();
        begun.sort();
        assert_eq!(begun, at(&[("a", 0), ("a", 7), ("b", 0), ("b", 7)]));
    }

    #[tokio::test(start_paused = true)]
    async fn what_changes_during_its_pass_has_one_more_behind_it() {
        let (store, _writer) = filled(&["a", "b"]);
        let passes = Passes::new(0, Next::OnChange);
        beside(&store, &passes, async |changes, stop| {
            for name in ["a", "a", "b", "a"] {
                changes.send(to(name)).unwrap();
                settle().await;
            }
            assert_eq!(passes.begun(), at(&[("a", 0), ("b", 0)]), "no two passes at a time for one object");
            passes.permits.add_permits(9);
            settle().await;
            stop.cancel();
        })
        .await;
        assert_eq!(passes.begun(), at(&[("a", 0), ("b", 0), ("a", 0)]));
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_pass_comes_when_it_was_asked_for_or_earlier_for_a_change() {
        let (store, _writer) = filled(&["a"]);
        let passes = Passes::new(9, Next::After(Duration::from_secs(10)));
        beside(&store, &passes, async |changes, stop| {
            changes.send(to("a")).unwrap();
            settle().await;
            tokio::time::sleep(Duration::from_secs(12)).await;
            changes.send(to("a")).unwrap();
            settle().await;
            tokio::time::sleep(Duration::from_secs(9)).await;
            stop.cancel();
        })
        .await;
        let seconds: Vec<u128> = passes.begun().iter().map(|(_, at)| at / 1000).collect();
        assert_eq!(seconds, [0, 10, 12]);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_begins_before_the_store_is_filled_nor_for_what_is_not_in_it() {
        let mut writer = Writer::default();
        let store = writer.as_reader();
        let passes = Passes::new(9, Next::OnChange);
        beside(&store, &passes, async |changes, stop| {
            changes.send(to("a")).unwrap();
            changes.send(to("gone")).unwrap();
            writer.apply_watcher_event(&Event::Init);
            writer.apply_watcher_event(&Event::InitApply(object("a")));
            settle().await;
            assert_eq!(passes.begun(), []);
            writer.apply_watcher_event(&Event::InitDone);
            settle().await;
            stop.cancel();
        })
        .await;
        assert_eq!(passes.begun(), at(&[("a", 0)]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_waits_for_what_has_begun_and_begins_nothing() {
        let (store, _writer) = filled(&["a", "b"]);
        let passes = Passes::new(0, Next::After(Duration::ZERO));
        beside(&store, &passes, async |changes, stop| {
            changes.send(to("a")).unwrap();
            settle().await;
            stop.cancel();
            settle().await;
            changes.send(to("b")).unwrap();
            settle().await;
            assert_eq!(passes.begun(), at(&[("a", 0)]));
            passes.permits.add_permits(9);
        })
        .await;
        assert_eq!(passes.begun(), at(&[("a", 0)]));
        assert_eq!(passes.permits.available_permits(), 8, "the pass that had begun came to its end");
    }
}
