//! A worker's view of the endpoints and its pool of connections to the pods.

use std::{collections::BTreeMap, net::SocketAddr, rc::Rc};

use tokio::net::TcpStream;

use super::protocol::Upstream;

/// A connection to a pod.
#[derive(Debug)]
pub(crate) struct Pooled {
    pub(crate) stream: TcpStream,
    pub(crate) id: u64,
    pub(crate) opened_mono_ns: u64,
    pub(crate) served: u64,
    pub(crate) idle_since_mono_ns: u64,
}

impl Pooled {
    /// Whether the pod has neither closed it nor said anything unasked. (It may do so right after:
    /// that race is for the reports to show.)
    fn is_open(&self) -> bool {
        let mut byte = [0];
        matches!(self.stream.try_read(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Worker {
    view: Vec<(Rc<str>, SocketAddr)>,
    next: usize,
    idle: BTreeMap<Rc<str>, Vec<Pooled>>,
    idle_count: usize,
    max_idle: usize,
}

impl Worker {
    pub(crate) fn new(max_idle: usize) -> Self {
        Self { view: Vec::new(), next: 0, idle: BTreeMap::new(), idle_count: 0, max_idle }
    }

    /// The endpoints to choose from now on. Idle connections to others are closed.
    pub(crate) fn set_view(&mut self, endpoints: Vec<Upstream>) {
        self.view = endpoints.into_iter().map(|known| (known.pod.into(), known.address)).collect();
        let view = &self.view;
        self.idle.retain(|pod, _| view.iter().any(|(known, _)| known == pod));
        self.idle_count = self.idle.values().map(Vec::len).sum();
    }

    /// The next endpoint in turn; `None` if there is none.
    pub(crate) fn choose(&mut self) -> Option<(Rc<str>, SocketAddr)> {
        if self.view.is_empty() {
            return None;
        }
        self.next = (self.next + 1) % self.view.len();
        self.view.get(self.next).cloned()
    }

    /// The most recently used idle connection to a pod that is still open.
    pub(crate) fn take(&mut self, pod: &str) -> Option<Pooled> {
        let idle = self.idle.get_mut(pod)?;
        while let Some(pooled) = idle.pop() {
            self.idle_count -= 1;
            if pooled.is_open() {
                return Some(pooled);
            }
        }
        None
    }

    /// Keeps a connection for the next request, unless its pod is not to be chosen any more.
    pub(crate) fn put(&mut self, pod: &Rc<str>, pooled: Pooled) {
        let is_known = self.view.iter().any(|(known, _)| known == pod);
        if is_known && self.idle_count < self.max_idle {
            self.idle.entry(pod.clone()).or_default().push(pooled);
            self.idle_count += 1;
        }
    }

    /// Closes connections that are idle since before `oldest`, or closed by their pods.
    pub(crate) fn sweep(&mut self, oldest_mono_ns: u64) {
        for idle in self.idle.values_mut() {
            idle.retain(|pooled| pooled.idle_since_mono_ns >= oldest_mono_ns && pooled.is_open());
        }
        self.idle_count = self.idle.values().map(Vec::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(pod: &str) -> Upstream {
        Upstream { pod: pod.into(), address: "127.0.0.1:1".parse().unwrap() }
    }

    #[test]
    fn endpoints_are_chosen_in_turn_also_after_the_view_shrinks() {
        let mut worker = Worker::new(1);
        assert_eq!(worker.choose(), None);
        worker.set_view(["a", "b", "c"].map(upstream).into());
        let chosen: Vec<_> = (0..6).map(|_| worker.choose().unwrap().0.to_string()).collect();
        assert_eq!(chosen, ["b", "c", "a", "b", "c", "a"]);
        worker.choose();
        worker.choose();
        worker.set_view(vec![upstream("a")]);
        assert_eq!(&*worker.choose().unwrap().0, "a");
    }
}
