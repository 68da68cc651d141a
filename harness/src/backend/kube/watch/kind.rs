//! All objects of one kind: listed, then watched, and listed again after trouble.

use std::fmt::Debug;

use futures_util::{StreamExt as _, pin_mut};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{ListParams, WatchEvent, WatchParams},
};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    super::observe::{News, Seen, Watched},
    Closed, Line, Pace,
    trouble::{Ear, Trouble},
};

/// Objects in one answer to a list.
const PAGE: u32 = 500;
/// How many answers make a list at most.
const PAGES_MAX: usize = 100;

/// Which objects of a kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    labels: Option<String>,
    fields: Option<String>,
}

impl Selection {
    /// By a label selector.
    pub(super) fn labels(selector: &str) -> Self {
        Self { labels: Some(selector.into()), fields: None }
    }

    /// By name.
    pub(super) fn name(name: &str) -> Self {
        Self { labels: None, fields: Some(format!("metadata.name={name}")) }
    }
}

/// A kind of objects to be watched.
pub(super) struct Kind<K> {
    api: Api<K>,
    what: Watched,
    selection: Selection,
    news: fn(Seen<K>) -> News,
}

/// What ends a watch.
enum End {
    Trouble(Trouble),
    Closed,
}

impl From<Closed> for End {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl From<Trouble> for End {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl<K> Kind<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    pub(super) fn new(
        api: Api<K>,
        what: Watched,
        selection: Selection,
        news: fn(Seen<K>) -> News,
    ) -> Self {
        Self { api, what, selection, news }
    }

    /// Watches until nobody takes messages any more.
    pub(super) async fn run(self, line: Line) {
        let mut ear = Ear::new(self.what.clone(), &line);
        loop {
            let Err(end) = self.list_and_watch(&line, &mut ear).await else { continue };
            let End::Trouble(trouble) = end else { return };
            if ear.lost(&trouble).await.is_err() {
                return;
            }
        }
    }

    async fn list_and_watch(&self, line: &Line, ear: &mut Ear) -> Result<(), End> {
        let (objects, mut version) = self.list(&line.pace).await?;
        line.send((self.news)(Seen::All { objects, since: ear.since() })).await?;
        ear.caught_up().await?;
        loop {
            self.watch(&mut version, line, ear).await?;
        }
    }

    /// All objects, and the version that they are of.
    async fn list(&self, pace: &Pace) -> Result<(Vec<K>, String), Trouble> {
        let mut params = ListParams {
            label_selector: self.selection.labels.clone(),
            field_selector: self.selection.fields.clone(),
            limit: Some(PAGE),
            ..ListParams::default()
        };
        let mut objects = Vec::new();
        for _ in 0..PAGES_MAX {
            let page = timeout(pace.answer, self.api.list(&params)).await;
            let page = page.map_err(|_| Trouble::Silent(pace.answer))??;
            objects.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => {
                    let version = page.metadata.resource_version.filter(|text| !text.is_empty());
                    let version = version.ok_or_else(|| Trouble::BadList(self.what.clone()))?;
                    return Ok((objects, version));
                }
            }
        }
        Err(Trouble::BadList(self.what.clone()))
    }

    /// Watches from `version` until the server ends the watch in its time.
    async fn watch(&self, version: &mut String, line: &Line, ear: &mut Ear) -> Result<(), End> {
        let pace = &line.pace;
        let params = WatchParams {
            label_selector: self.selection.labels.clone(),
            field_selector: self.selection.fields.clone(),
            timeout: Some(pace.watch.as_secs().max(1) as u32),
            bookmarks: true,
            ..WatchParams::default()
        };
        let begun = Instant::now();
        let events = timeout(pace.answer, self.api.watch(&params, version)).await;
        let events = events.map_err(|_| Trouble::Silent(pace.answer))?.map_err(Trouble::from)?;
        pin_mut!(events);
        // The server has answered, and tells all since `version`.
        ear.heard();
        let until = begun + pace.watch + pace.silence;
        let mut was_silent = true;
        loop {
            let Ok(event) = timeout_at(until, events.next()).await else {
                return Err(Trouble::Silent(pace.watch + pace.silence).into());
            };
            let Some(event) = event else { break };
            was_silent = false;
            self.event(event.map_err(Trouble::from)?, version, line).await?;
            ear.heard();
        }
        // It ended by itself: no word is missing. But a server that ends every watch at once would
        // be asked without end.
        if was_silent && begun.elapsed() < pace.wait_min {
            return Err(Trouble::EndedEarly.into());
        }
        ear.heard();
        Ok(())
    }

    async fn event(
        &self,
        event: WatchEvent<K>,
        version: &mut String,
        line: &Line,
    ) -> Result<(), End> {
        let seen = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                Seen::Changed(Box::new(object))
            }
            WatchEvent::Deleted(object) => Seen::Gone(Box::new(object)),
            WatchEvent::Bookmark(bookmark) => {
                *version = bookmark.metadata.resource_version;
                return Ok(());
            }
            WatchEvent::Error(status) => return Err(Trouble::Ended(status).into()),
        };
        if let Seen::Changed(object) | Seen::Gone(object) = &seen
            && let Some(of_object) = object.resource_version()
        {
            *version = of_object;
        }
        line.send((self.news)(seen)).await?;
        Ok(())
    }
}
