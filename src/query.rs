//! Queries of clients are parsed here, so that none holds up an async thread.
//!
//! Most take some microseconds, less than it costs to hand them to another thread. Long ones, and those with regular
//! expressions, which are short to write and long to compile, take up to hundreds of milliseconds: they are parsed on threads
//! that may block, no more at a time than there are cores.

use dataflows::query::{Filter, QueryError, QueryLimits};
use std::sync::LazyLock;
use tokio::sync::Semaphore;

/// Bytes of a query that is parsed where it is, if it has no regular expression.
const SHORT: usize = 4 << 10;

/// Costly queries that are parsed at a time: more would only share the same cores.
static TURNS: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(1, std::num::NonZero::get)));

/// Whether parsing it may take longer than an async thread is to be kept. Never misses a regular expression: there is no way
/// to write the operator's name in JSON but by its letters or by escapes of them.
pub(crate) fn is_costly(text: &str) -> bool {
    text.len() > SHORT || text.contains("$regex") || text.contains("\\u")
}

/// Parses a query and brings it to its normal form, a costly one elsewhere when it has its turn.
pub(crate) async fn parse(text: &str, limits: &QueryLimits) -> Result<Filter, QueryError> {
    // What is too long is refused before anything is done about it.
    if !is_costly(text) || text.len() > limits.bytes {
        return Filter::parse(text, limits);
    }
    // Nobody closes it.
    let turn = TURNS.acquire().await.ok();
    let (text, limits) = (text.to_owned(), *limits);
    let parsing = tokio::task::spawn_blocking(move || {
        // Kept by the work, also where nobody waits for it any more.
        let _turn = turn;
        Filter::parse(&text, &limits)
    });
    match parsing.await {
        Ok(parsed) => parsed,
        Err(error) => match error.try_into_panic() {
            // As if it had happened here.
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and whoever waits here with it.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn only_what_is_quickly_parsed_is_parsed_in_place() {
        let long = format!(r#"{{"n":{{"$in":[{}1]}}}}"#, "1,".repeat(SHORT));
        for (text, costly) in [
            (r#"{"n":1}"#, false),
            (r#"{"name":"a \"quoted\" one"}"#, false),
            (r#"{"n":{"$regex":"a"}}"#, true),
            (r#"{"n":{"\u0024regex":"a"}}"#, true),
            (r#"{"n":{"$reg\u0065x":"a"}}"#, true),
            (&*long, true),
        ] {
            assert_eq!(is_costly(text), costly, "{text}");
            assert!(Filter::parse(text, &QueryLimits::default()).is_ok(), "{text}");
        }
    }

    /// On a runtime of one thread, and one more that may block: what the first does not do itself it has to wait for.
    #[test]
    fn a_costly_query_leaves_the_thread_to_others() {
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        runtime.block_on(leaves_the_thread_to_others());
    }

    async fn leaves_the_thread_to_others() {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let holding = tokio::task::spawn_blocking(move || held.recv().is_err());
        let costly = format!(r#"{{"n":{{"$regex":"{}"}}}}"#, "(a|b)?[cd]".repeat(40));
        let limits = QueryLimits::default();
        let mut parsing = Box::pin(parse(&costly, &limits));
        assert!(parsing.as_mut().now_or_never().is_none(), "it was parsed in place");
        drop(release);
        assert!(holding.await.unwrap());
        assert_eq!(parsing.await.unwrap().text, Filter::parse(&costly, &limits).unwrap().text);
        assert!(parse(r#"{"n":1}"#, &limits).now_or_never().unwrap().is_ok());
        assert!(parse(r#"{"n":{"$regex":"("}}"#, &limits).await.is_err());
        let too_long = QueryLimits { bytes: 10, ..limits };
        assert!(matches!(parse(&costly, &too_long).now_or_never(), Some(Err(QueryError::TooLarge { .. }))));
    }
}
