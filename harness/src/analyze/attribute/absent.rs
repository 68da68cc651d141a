//! Why there is no endpoint: what took the pods away, if one thing took them all.

use highwater_model::time::Timestamp;

use crate::analyze::{
    Cause,
    pods::{Container, Lives, PodLife},
};

/// The cause of there being no pod to choose at `at`.
///
/// If every pod that had been ready, and that nobody deleted, is down because its containers
/// crashed, that is the cause, and likewise for containers that their probes had killed: more
/// replicas of the same would have been down as well. Anything else is a matter of how many pods
/// there are and of when they go.
pub(super) fn cause(lives: &Lives, at: Timestamp) -> Cause {
    let served = |life: &&PodLife| {
        life.first_ready.is_some_and(|ready| ready.may_be_by(at))
            && !life.may_be_deleted_by(at)
            && life.gone.is_none_or(|gone| !gone.may_be_by(at))
    };
    let mut causes = lives.pods.values().filter(served).filter_map(|life| down(life, at));
    let Some(first) = causes.next() else { return Cause::NoReadyEndpoint };
    if causes.all(|other| other == first) { first } else { Cause::NoReadyEndpoint }
}

/// Why a pod is not ready; `None` if it is new, and only not known yet.
fn down(life: &PodLife, at: Timestamp) -> Option<Cause> {
    let container = life.container_at(at)?;
    let before = || life.container_before(container);
    if life.is_ready(at, at) {
        // Ready again, and nobody has learnt of it yet.
        return before().and_then(|before| ended(before, at));
    }
    if let Some(cause) = ended(container, at) {
        return Some(cause);
    }
    let was_ready = container.ready.is_some_and(|ready| ready.may_be_by(at));
    let restarted = before().filter(|_| !was_ready).and_then(|before| ended(before, at));
    Some(restarted.unwrap_or(Cause::NoReadyEndpoint))
}

/// What ended a container whose pod nobody deleted.
fn ended(container: &Container, at: Timestamp) -> Option<Cause> {
    if container.probe_kill.is_some_and(|(killed, _)| killed.may_be_by(at)) {
        return Some(Cause::LivenessKill);
    }
    container.ended().is_some_and(|end| end.may_be_by(at)).then_some(Cause::Crash)
}
