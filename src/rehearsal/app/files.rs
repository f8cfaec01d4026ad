//! Upload, list, download, delete. The bytes are stored before the row that names them, so that a row is never a lie.

use super::{
    super::database::{next_id, now_text},
    Answer, App, Blobs, Refusal, Serving, Shared, User,
};
use crate::model::Digest;
use aws_sdk_s3::{error::DisplayErrorContext, primitives::ByteStream, types::ChecksumAlgorithm};
use axum::{
    Extension, Json,
    body::{Body, Bytes},
    extract::{Multipart, Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use sqlx::{Row, sqlite::SqliteRow};
use std::path::PathBuf;

/// Attempts to read an object whole.
const READS: u32 = 4;

/// The object's key: the same template as in the plan.
pub(super) fn object_key(user: i64, id: i64, name: &str) -> String {
    format!("users/{user}/{id}/{name}")
}

/// The place of a file in the legacy media folder.
pub(super) fn media_path(user: i64, id: i64, name: &str) -> String {
    format!("uploads/u{user}/{id}/{name}")
}

/// A path in the media folder, if it stays inside.
pub(in crate::rehearsal) fn inside(root: &std::path::Path, path: &str) -> Option<PathBuf> {
    let fine = !path.is_empty() && path.split('/').all(|part| !matches!(part, "" | "." | "..")) && !path.contains('\0');
    fine.then(|| root.join(path))
}

impl Blobs {
    async fn store(&self, user: i64, id: i64, name: &str, mime: &str, bytes: Bytes) -> Result<(), Refusal> {
        match self {
            Self::Folder { root, beside } => {
                let place = inside(root, &media_path(user, id, name)).ok_or_else(bad_name)?;
                let draft = beside.join(format!("{id}-{}", uuid::Uuid::new_v4().simple()));
                let work = async {
                    if let Some(folder) = place.parent() {
                        tokio::fs::create_dir_all(folder).await?;
                    }
                    tokio::fs::write(&draft, &bytes).await?;
                    tokio::fs::rename(&draft, &place).await
                };
                work.await.map_err(|error| Refusal::broken("a media file could not be written", error))
            }
            Self::Bucket { client, bucket } => client
                .put_object()
                .bucket(bucket)
                .key(object_key(user, id, name))
                .content_type(mime)
                .checksum_algorithm(ChecksumAlgorithm::Sha256)
                .body(ByteStream::from(bytes))
                .send()
                .await
                .map(drop)
                .map_err(|error| Refusal::broken("an object could not be put", error)),
        }
    }

    async fn fetch(&self, user: i64, id: i64, name: &str, path: &str) -> Result<Bytes, Refusal> {
        match self {
            Self::Folder { root, .. } => {
                let place = inside(root, path).ok_or_else(Refusal::not_found)?;
                let bytes = tokio::fs::read(place).await;
                bytes.map(Bytes::from).map_err(|error| Refusal::broken("a media file could not be read", error))
            }
            Self::Bucket { client, bucket } => {
                let key = object_key(user, id, name);
                let mut attempt = 1;
                loop {
                    match get_whole(client, bucket, &key).await {
                        Ok(bytes) => return Ok(bytes),
                        Err(error) if attempt == READS => {
                            return Err(Refusal::broken("an object could not be read", error));
                        }
                        Err(_) => attempt += 1,
                    }
                }
            }
        }
    }

    /// Removes the bytes of a file whose row is gone already; what stays behind belongs to nobody.
    pub(super) async fn remove(&self, user: i64, id: i64, name: String, path: String) {
        let done = match self {
            Self::Folder { root, .. } => match inside(root, &path) {
                Some(place) => tokio::fs::remove_file(place).await.map_err(|error| error.to_string()),
                None => Ok(()),
            },
            Self::Bucket { client, bucket } => {
                let sent = client.delete_object().bucket(bucket).key(object_key(user, id, &name)).send().await;
                sent.map(drop).map_err(|error| error.to_string())
            }
        };
        if let Err(error) = done {
            tracing::warn!(%error, id, "rehearsal: bytes without a row stay behind");
        }
    }
}

/// The SDK repeats requests; a body that ends early is for its caller to ask for again.
async fn get_whole(client: &aws_sdk_s3::Client, bucket: &str, key: &str) -> Result<Bytes, String> {
    let object = client.get_object().bucket(bucket).key(key).send().await;
    let object = object.map_err(|error| DisplayErrorContext(error).to_string())?;
    let bytes = object.body.collect().await.map_err(|error| error.to_string())?;
    Ok(bytes.into_bytes())
}

fn bad_name() -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "a file name has 1 to 100 bytes, no slash and no control character")
}

fn row_json(row: &SqliteRow) -> Value {
    let (id, size): (i64, i64) = (row.get("id"), row.get("size"));
    let text = |field: &str| row.get::<String, _>(field);
    json!({ "id": id, "file_name": text("file_name"), "size": size, "checksum": text("checksum"),
        "mime_type": text("mime_type"), "created_at": text("created_at") })
}

async fn find(app: &App, user: &User, id: i64) -> Result<SqliteRow, Refusal> {
    sqlx::query("SELECT * FROM files WHERE id = $1 AND user_id = $2")
        .bind(id)
        .bind(user.id)
        .fetch_optional(&app.pool)
        .await?
        .ok_or_else(Refusal::not_found)
}

pub(super) async fn list(State(app): Shared, user: User) -> Answer {
    let rows = sqlx::query("SELECT * FROM files WHERE user_id = $1 ORDER BY id LIMIT 1000")
        .bind(user.id)
        .fetch_all(&app.pool)
        .await?;
    Ok(Json(json!({ "files": rows.iter().map(row_json).collect::<Vec<_>>() })).into_response())
}

pub(super) async fn show(State(app): Shared, user: User, Path(id): Path<i64>) -> Answer {
    Ok(Json(row_json(&find(&app, &user, id).await?)).into_response())
}

pub(super) async fn upload(
    State(app): Shared,
    serving: Option<Extension<Serving>>,
    user: User,
    mut form: Multipart,
) -> Answer {
    let wrong = |text: String| Refusal::new(StatusCode::BAD_REQUEST, text);
    let mut file = None;
    while let Some(field) = form.next_field().await.map_err(|error| wrong(error.body_text()))? {
        if field.name() == Some("file") {
            let name = field.file_name().unwrap_or_default().to_owned();
            let mime = field.content_type().unwrap_or("text/csv").to_owned();
            file = Some((name, mime, field.bytes().await.map_err(|error| wrong(error.body_text()))?));
        }
    }
    let Some((name, mime, bytes)) = file else { return Err(wrong("a field `file` is needed".to_owned())) };
    let plain = name.len() <= 100 && !name.contains(['/', '\\']) && !name.chars().any(char::is_control);
    if name.is_empty() || matches!(name.as_str(), "." | "..") || !plain {
        return Err(bad_name());
    }
    let _open = app.writing(serving.map(|serving| serving.0)).await?;
    let id = next_id(&app.pool, "files").await?;
    let digest = Digest::of(&bytes).to_hex();
    let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
    app.blobs.store(user.id, id, &name, &mime, bytes).await?;
    let row = sqlx::query(
        "INSERT INTO files (id, user_id, file_name, file_path, size, checksum, mime_type, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8) RETURNING *",
    )
    .bind(id)
    .bind(user.id)
    .bind(&name)
    .bind(media_path(user.id, id, &name))
    .bind(size)
    .bind(digest)
    .bind(mime)
    .bind(now_text())
    .fetch_one(&app.pool)
    .await?;
    Ok((StatusCode::CREATED, Json(row_json(&row))).into_response())
}

/// The bytes of one of the user's files.
pub(super) async fn bytes_of(app: &App, user: &User, id: i64) -> Result<(String, Bytes), Refusal> {
    let row = find(app, user, id).await?;
    let bytes = app.blobs.fetch(user.id, id, row.get("file_name"), row.get("file_path")).await?;
    Ok((row.get("mime_type"), bytes))
}

pub(super) async fn content(State(app): Shared, user: User, Path(id): Path<i64>) -> Answer<Response> {
    let (mime, bytes) = bytes_of(&app, &user, id).await?;
    let mime = header::HeaderValue::from_str(&mime)
        .unwrap_or_else(|_| header::HeaderValue::from_static("application/octet-stream"));
    Ok(([(header::CONTENT_TYPE, mime)], Body::from(bytes)).into_response())
}

pub(super) async fn delete(
    State(app): Shared,
    serving: Option<Extension<Serving>>,
    user: User,
    Path(id): Path<i64>,
) -> Answer<Response> {
    let _open = app.writing(serving.map(|serving| serving.0)).await?;
    let row = find(&app, &user, id).await?;
    sqlx::query("DELETE FROM files WHERE id = $1").bind(id).execute(&app.pool).await?;
    app.blobs.remove(user.id, id, row.get("file_name"), row.get("file_path")).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}
