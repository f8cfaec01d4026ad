//! Trying again: how long to wait, and calls outside a lane that are worth it.

use crate::{
    engine::StepContext,
    error::{Fault, Result},
};
use rand::Rng;
use std::time::Duration;

/// Longest wait that is ours to choose.
const LONGEST: Duration = Duration::from_secs(30);
/// Longest wait that another side may ask for.
const PATIENCE: Duration = Duration::from_mins(5);

/// The wait after this attempt (from 1): doubles from `first` up to 30 s, takes off up to half by chance so that batches
/// do not come back in step, and is never shorter than what the other side asked for (up to five minutes).
pub(crate) fn wait(fault: &Fault, attempt: u32, first: Duration) -> Duration {
    let doubled = first.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1))).min(LONGEST);
    let ours = doubled.mul_f64(rand::rng().random_range(0.5..=1.0));
    ours.max(fault.retry_after.unwrap_or_default().min(PATIENCE))
}

/// A call outside any lane that ends when the run is stopped, and is tried again where that may help.
///
/// # Errors
/// The fault of the last attempt; `Cancelled` when stopped.
pub(crate) async fn persist<T, F>(cx: &StepContext, doing: &str, call: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut attempt = 1;
    loop {
        match cx.signals.unless_stopped(doing, call()).await {
            Err(fault) if fault.kind.is_retryable() && attempt < cx.plan.migration.attempts.max(1) => {
                cx.signals.wait(wait(&fault, attempt, cx.plan.migration.backoff)).await?;
            }
            ended => return ended,
        }
        attempt += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::FaultKind;

    #[test]
    fn grows_is_bounded_and_listens() {
        let fault = Fault::new(FaultKind::Server, "write");
        for attempt in 1..100 {
            let wait = wait(&fault, attempt, Duration::from_millis(500));
            assert!(wait >= Duration::from_millis(250) && wait <= LONGEST, "{attempt}: {wait:?}");
        }
        assert!(wait(&fault, 4, Duration::from_millis(500)) >= Duration::from_secs(2));
        let asked = Fault::new(FaultKind::Throttled, "write").retry_after(Some(Duration::from_secs(40)));
        assert_eq!(wait(&asked, 1, Duration::from_millis(1)), Duration::from_secs(40));
        let forever = Fault::new(FaultKind::Throttled, "write").retry_after(Some(Duration::from_secs(86_400)));
        assert_eq!(wait(&forever, 1, Duration::from_millis(1)), PATIENCE);
    }
}
