//! What the SDK's errors mean.

use crate::error::{Fault, FaultKind};
use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use std::{error::Error, time::Duration};

/// The object, not the bucket, is not there.
pub(super) fn not_there<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    let SdkError::ServiceError(said) = error else { return false };
    match said.err().code() {
        Some("NoSuchKey" | "NotFound") => true,
        Some("NoSuchBucket") => false,
        // The answer to a HEAD has no body and so no code.
        _ => said.raw().status().as_u16() == 404,
    }
}

/// The server does not know what it was asked for, or knows it otherwise: without that, it may do.
pub(super) fn not_known<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    let SdkError::ServiceError(said) = error else { return false };
    match (said.err().code(), said.raw().status().as_u16()) {
        (Some("SignatureDoesNotMatch"), _) => true,
        (_, 400 | 411 | 501) => said_kind(said.err().code(), 400) == FaultKind::Refused,
        _ => false,
    }
}

/// The error as a fault.
pub(super) fn fault<E>(doing: &str, error: SdkError<E, HttpResponse>) -> Fault
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let (kind, wait) = match &error {
        SdkError::ConstructionFailure(_) => (FaultKind::Plan, None),
        SdkError::TimeoutError(_) => (FaultKind::Timeout, None),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => (FaultKind::Timeout, None),
        SdkError::DispatchFailure(failure) if failure.is_user() => (FaultKind::Plan, None),
        SdkError::DispatchFailure(_) => (FaultKind::Unreachable, None),
        SdkError::ServiceError(said) => {
            let wait = said.raw().headers().get("retry-after").and_then(|text| text.parse().ok());
            (said_kind(said.err().code(), said.raw().status().as_u16()), wait.map(Duration::from_secs))
        }
        _ => (FaultKind::Garbage, None),
    };
    let detail = match &error {
        SdkError::ServiceError(said) => {
            let code = said.err().code().unwrap_or("no code");
            format!("HTTP {} {code}: {}", said.raw().status().as_u16(), said.err().message().unwrap_or_default())
        }
        _ => String::new(),
    };
    let fault = Fault::new(kind, doing).detail(detail).retry_after(wait);
    // What the service said is in the detail; of the others the causes tell more.
    match error {
        SdkError::ServiceError(_) => fault,
        error => fault.source(error),
    }
}

fn said_kind(code: Option<&str>, status: u16) -> FaultKind {
    match (code, status) {
        (Some("SlowDown" | "TooManyRequests" | "ServiceUnavailable" | "RequestLimitExceeded"), _) | (_, 429 | 503) => {
            FaultKind::Throttled
        }
        (Some("RequestTimeout"), _) | (_, 408) => FaultKind::Timeout,
        (Some("BadDigest" | "XAmzContentChecksumMismatch" | "XAmzContentSHA256Mismatch" | "InvalidDigest"), _) => {
            FaultKind::Mismatch
        }
        (
            Some(
                "AccessDenied"
                | "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "ExpiredToken"
                | "InvalidToken"
                | "RequestTimeTooSkewed",
            ),
            _,
        )
        | (_, 401 | 403) => FaultKind::Unauthorized,
        (Some("NoSuchKey" | "NoSuchBucket" | "NotFound" | "NoSuchUpload"), _) | (_, 404) => FaultKind::NotFound,
        // Only asked for by a write that must find nothing, and by a read that says what it makes of it.
        (Some("PreconditionFailed" | "ConditionalRequestConflict"), _) | (_, 412) => FaultKind::Exists,
        (Some("InternalError"), _) => FaultKind::Server,
        (Some("IncompleteBody"), _) | (None, 200..300) => FaultKind::Garbage,
        (Some("NotImplemented"), _) | (_, 501) => FaultKind::Refused,
        (_, 500..) => FaultKind::Server,
        _ => FaultKind::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_before_statuses() {
        let table = [
            (Some("SlowDown"), 503, FaultKind::Throttled),
            (None, 503, FaultKind::Throttled),
            (Some("AccessDenied"), 403, FaultKind::Unauthorized),
            (Some("SignatureDoesNotMatch"), 403, FaultKind::Unauthorized),
            (None, 403, FaultKind::Unauthorized),
            (Some("NoSuchKey"), 404, FaultKind::NotFound),
            (Some("NoSuchBucket"), 404, FaultKind::NotFound),
            (Some("BadDigest"), 400, FaultKind::Mismatch),
            (Some("RequestTimeout"), 400, FaultKind::Timeout),
            (Some("InternalError"), 500, FaultKind::Server),
            (Some("InternalError"), 200, FaultKind::Server),
            (None, 200, FaultKind::Garbage),
            (Some("NotImplemented"), 501, FaultKind::Refused),
            (Some("NotImplemented"), 400, FaultKind::Refused),
            (Some("PreconditionFailed"), 412, FaultKind::Exists),
            (Some("ConditionalRequestConflict"), 409, FaultKind::Exists),
            (None, 412, FaultKind::Exists),
            (Some("InvalidArgument"), 400, FaultKind::Refused),
        ];
        for (code, status, kind) in table {
            assert_eq!(said_kind(code, status), kind, "{code:?} {status}");
        }
    }
}
