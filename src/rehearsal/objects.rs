//! The object store: an S3 server on a folder, with one key pair.

use super::{
    faults::{FaultyServer, strike},
    kept::disk,
};
use crate::error::{Fault, FaultKind, Result};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::StatusCode,
    middleware,
    response::{IntoResponse, Response},
};
use s3s::{
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use s3s_fs::FileSystem;
use std::path::Path;

/// The bucket of the new app.
pub(super) const BUCKET: &str = "list-cutter";

/// The S3 server on this folder.
pub(super) fn router(root: &Path, access_key: &str, secret_key: &str, server: FaultyServer) -> Result<Router> {
    let bucket = root.join(BUCKET);
    std::fs::create_dir_all(&bucket).map_err(|error| disk(format!("make the bucket {}", bucket.display()), error))?;
    let files = FileSystem::new(root).map_err(|error| {
        Fault::new(FaultKind::Disk, format!("open the object store {}", root.display())).detail(format!("{error:?}"))
    })?;
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(access_key, secret_key));
    Ok(Router::new()
        .fallback(answer)
        .layer(middleware::from_fn_with_state(server, strike))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(builder.build()))
}

async fn answer(State(service): State<S3Service>, request: Request) -> Response {
    match service.call(request.map(s3s::Body::http_body_unsync)).await {
        Ok(answer) => answer.map(Body::new),
        Err(error) => {
            tracing::warn!(?error, "rehearsal: the object store failed");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The new app's own client.
pub(super) fn client(endpoint: &str, access_key: &str, secret_key: &str) -> aws_sdk_s3::Client {
    use aws_sdk_s3::config::{Credentials, Region, timeout::TimeoutConfig};
    let timeouts = TimeoutConfig::builder().operation_timeout(std::time::Duration::from_secs(20)).build();
    let config = aws_sdk_s3::Config::builder()
        .behavior_version_latest()
        .endpoint_url(endpoint)
        .region(Region::new("auto"))
        .credentials_provider(Credentials::new(access_key, secret_key, None, None, "rehearsal"))
        .timeout_config(timeouts)
        // The default client would ask the environment's proxy for a server on this machine.
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .force_path_style(true)
        .build();
    aws_sdk_s3::Client::from_conf(config)
}
