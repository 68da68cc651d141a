//! What can go wrong between Highwater and a cluster, by kind and code, never by text.

use std::{future::Future, time::Duration};

use highwater_model::time::Nanos;

/// How long one call may take before it is given up. The API server's own bound for a mutating
/// request is 34 s, but one that takes ten is of no use to a run.
pub const CALL: Duration = Duration::from_secs(10);
/// The waits between tries of a call that is repeated: from the first to the most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// A cluster could not do, or would not let us do, what a run needs.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The API server refused, or could not be reached.
    #[error("{doing}: {}", in_words(source))]
    Api {
        /// What was attempted.
        doing: String,
        /// What came of it.
        #[source]
        source: Box<kube::Error>,
    },
    /// No answer in time.
    #[error("{doing}: no answer within {within}")]
    Deadline {
        /// What was attempted.
        doing: String,
        /// How long was waited.
        within: Nanos,
    },
    /// An object is not what it should be.
    #[error("{doing}: {reason}")]
    Unfit {
        /// What was attempted.
        doing: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
}

fn in_words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.code == 403 => {
            format!("not allowed: {}", status.message)
        }
        kube::Error::Api(status) => format!("{} ({})", status.message, status.code),
        other => {
            let mut text = other.to_string();
            let mut cause = std::error::Error::source(other);
            while let Some(next) = cause {
                let next_text = next.to_string();
                if !text.contains(&next_text) {
                    text.push_str(": ");
                    text.push_str(&next_text);
                }
                cause = next.source();
            }
            text
        }
    }
}

impl ClusterError {
    /// An object that is not what it should be.
    pub fn unfit(doing: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Unfit { doing: doing.into(), reason: reason.into() }
    }

    /// The status code, if the API server answered.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Api { source, .. } => match &**source {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether the same call may succeed a little later: no answer, throttled, or a fault of the
    /// server's own.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unfit { .. } => false,
            Self::Deadline { .. } => true,
            Self::Api { source, .. } => match &**source {
                kube::Error::Api(status) => {
                    status.code == 429 || status.code >= 500 || status.code == 0
                }
                kube::Error::HyperError(_) | kube::Error::Service(_) => true,
                _ => false,
            },
        }
    }
}

/// One call, within [`CALL`].
///
/// # Errors
/// What the API server says, or [`ClusterError::Deadline`].
pub async fn call<T>(
    doing: impl Into<String>,
    future: impl Future<Output = kube::Result<T>>,
) -> Result<T, ClusterError> {
    match tokio::time::timeout(CALL, future).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(ClusterError::Api { doing: doing.into(), source: Box::new(source) }),
        Err(_) => Err(ClusterError::Deadline {
            doing: doing.into(),
            within: Nanos::from_millis(CALL.as_millis() as u64),
        }),
    }
}

/// A call that may be made again: repeated while its failure is a passing one, `within` at most.
///
/// # Errors
/// The last failure.
pub async fn call_again<T, F>(
    within: Duration,
    doing: &str,
    mut attempt: impl FnMut() -> F,
) -> Result<T, ClusterError>
where
    F: Future<Output = kube::Result<T>>,
{
    let deadline = tokio::time::Instant::now() + within;
    let mut wait = AGAIN.0;
    loop {
        match call(doing, attempt()).await {
            Err(error) if error.is_passing() && tokio::time::Instant::now() + wait < deadline => {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(AGAIN.1);
            }
            result => return result,
        }
    }
}

/// `None` in place of 404.
///
/// # Errors
/// Every other failure.
pub fn unless_gone<T>(result: Result<T, ClusterError>) -> Result<Option<T>, ClusterError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.code() == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(code: u16) -> ClusterError {
        let status = kube::core::Status::failure("message", "Reason").with_code(code);
        ClusterError::Api {
            doing: "x".into(),
            source: Box::new(kube::Error::Api(Box::new(status))),
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for (code, passes) in
            [(400, false), (401, false), (403, false), (404, false), (409, false), (422, false)]
                .into_iter()
                .chain([(429, true), (500, true), (503, true), (504, true)])
        {
            assert_eq!(api(code).is_passing(), passes, "{code}");
            assert_eq!(api(code).code(), Some(code));
        }
        assert!(!ClusterError::unfit("x", "y").is_passing());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_made_again_until_its_deadline_and_not_after_a_final_answer() {
        let mut calls = 0;
        let result = call_again(Duration::from_secs(10), "x", || {
            calls += 1;
            let status = kube::core::Status::failure("busy", "").with_code(503);
            async move { Err::<(), _>(kube::Error::Api(Box::new(status))) }
        })
        .await;
        assert_eq!(result.expect_err("never succeeds").code(), Some(503));
        assert!((5..20).contains(&calls), "{calls} calls");
        let mut calls = 0;
        let result = call_again(Duration::from_secs(10), "x", || {
            calls += 1;
            let status = kube::core::Status::failure("no", "").with_code(403);
            async move { Err::<(), _>(kube::Error::Api(Box::new(status))) }
        })
        .await;
        assert_eq!((result.expect_err("is refused").code(), calls), (Some(403), 1));
    }
}
