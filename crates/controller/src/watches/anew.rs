//! A watch that begins with a list again whenever it broke. kube's own goes on from the resourceVersion that it saw last;
//! where a backup was restored meanwhile, that lies ahead of everything that happens, and nothing would ever be heard.

use std::fmt::Debug;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use kube::Resource;
use kube::api::Api;
use kube::runtime::watcher::{self, Event, watcher};
use serde::de::DeserializeOwned;

use super::TakeUpAgain;

/// Where a watch is.
struct Watch<K> {
    api: Api<K>,
    config: watcher::Config,
    /// None: to be begun.
    events: Option<BoxStream<'static, Result<Event<K>, watcher::Error>>>,
    waits: TakeUpAgain,
    has_failed: bool,
}

/// The events of a watch, for ever. After a failure, which is told, it waits a while and lists again.
pub(crate) fn watch_anew<K>(
    api: Api<K>,
    config: watcher::Config,
) -> impl Stream<Item = Result<Event<K>, watcher::Error>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let begin = Watch { api, config, events: None, waits: TakeUpAgain::default(), has_failed: false };
    stream::unfold(begin, async |mut watch| {
        if std::mem::take(&mut watch.has_failed)
            && let Some(wait) = watch.waits.next()
        {
            tokio::time::sleep(wait).await;
        }
        let events =
            watch.events.get_or_insert_with(|| watcher(watch.api.clone(), watch.config.clone()).boxed());
        let event = events.next().await?;
        match &event {
            Err(_) => {
                watch.events = None;
                watch.has_failed = true;
            }
            // That a list is about to begin is no sign of the server.
            Ok(Event::Init) => {}
            Ok(_) => watch.waits = TakeUpAgain::default(),
        }
        Some((event, watch))
    })
}
