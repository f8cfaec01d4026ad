//! File sets between real places: a folder and two S3 buckets, with a real ledger.

use super::{
    PATIENCE,
    blobs::{body, put, read},
    doubles::Objects,
    s3::at,
};
use cutover::{
    engine::{Reporter, Signals, StepContext},
    ledger::Ledger,
    migrate::{account, files, undo_set},
    model::{RunId, StepId, Verdict},
    plan::{self, Plan, Source},
    ports::{BlobMeta, BlobStore, Put},
    sync, wiring,
};
use std::{path::Path, sync::Arc};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use url::Url;

fn plan(media: &Path, first: &Url, second: &Url) -> Plan {
    let bucket = |name: &str, endpoint: &Url| {
        format!(
            "[buckets.{name}]\nkind = \"s3\"\nendpoint = \"{endpoint}\"\nbucket = \"{}\"\naccess_key = \"{}\"\n\
             secret_key = \"{}\"\nregion = \"us-east-1\"\npath_style = true\n",
            Objects::BUCKET,
            Objects::ACCESS,
            Objects::SECRET
        )
    };
    let text = format!(
        "name = \"sets\"\nenvironment = \"rehearsal\"\n[buckets.media]\nkind = \"filesystem\"\nroot = \"{}\"\n{}{}\
         [[files]]\nname = \"up\"\nfrom = {{ bucket = \"media\", prefix = \"uploads/\" }}\n\
         to = {{ bucket = \"first\", prefix = \"up/\" }}\n\
         [[files]]\nname = \"across\"\nfrom = {{ bucket = \"first\", prefix = \"old/\" }}\n\
         to = {{ bucket = \"second\", prefix = \"new/\" }}\n",
        media.display(),
        bucket("first", first),
        bucket("second", second)
    );
    let source = Source { name: "cutover.toml", text: &text, base: media, env: &|_| None };
    plan::parse(&source).unwrap_or_else(|problems| panic!("{problems}"))
}

async fn keys(bucket: &dyn BlobStore) -> Vec<String> {
    let page = bucket.list("", None, 1000).await.unwrap();
    page.blobs.into_iter().map(|blob| blob.key).filter(|key| !key.starts_with(".cutover-marker")).collect()
}

#[tokio::test]
async fn a_folder_and_a_bucket_move_whole_and_come_back() {
    let work = async {
        let folder = tempfile::tempdir().unwrap();
        let media = folder.path().join("media");
        std::fs::create_dir_all(media.join("uploads/deep/er")).unwrap();
        for name in ["a.txt", "deep/ü b.bin", "deep/er/empty"] {
            std::fs::write(media.join("uploads").join(name), if name.ends_with("empty") { "" } else { name }).unwrap();
        }
        std::fs::write(media.join("other"), "not of the set").unwrap();
        let (one, two) = (Objects::start().await, Objects::start().await);
        let (first, second) = (at(&one.endpoint), at(&two.endpoint));
        let meta = BlobMeta {
            content_type: Some("image/png".into()),
            cache_control: Some("max-age=60".into()),
            user: [("owner".to_owned(), "ada".to_owned())].into(),
            ..BlobMeta::default()
        };
        let stored = Put { meta: meta.clone(), ..Put::default() };
        first.put("old/picture", body(b"a picture"), &stored).await.unwrap();
        put(&first, "old/deep/plain", b"plain").await;
        put(&second, "new/stood before", b"not ours").await;
        let before = (keys(&first).await, keys(&second).await);

        let plan = Arc::new(plan(&media, &one.endpoint, &two.endpoint));
        let ledger = Ledger::open(&folder.path().join("ledger")).await.unwrap();
        let (signals, _gate) = Signals::new(CancellationToken::new());
        // Nobody listens: a last word must not wait for somebody who never takes it.
        let (to, _) = mpsc::channel(1);
        let cx = StepContext {
            ports: wiring::ports(&plan).unwrap(),
            work: ledger.work(&RunId::new("run-1")),
            plan: plan.clone(),
            signals,
            report: Reporter::new(StepId::new("data_migration/test"), to),
            folder: folder.path().to_path_buf(),
        };
        for set in &plan.file_sets {
            files::copy_set(&cx, set).await.unwrap_or_else(|fault| panic!("{}: {}", set.name, fault.chain()));
            let found = files::verify_set(&cx, set, files::VerifyLevel::Content).await.unwrap();
            assert!(found.is_same() && found.source > 0, "{found:?}");
        }
        let checks = account(&cx).await.unwrap();
        assert!(checks.iter().all(|check| check.verdict == Verdict::Pass), "{checks:?}");
        assert_eq!(read(&first, "up/deep/ü b.bin", 0).await.unwrap(), "deep/ü b.bin".as_bytes());
        assert_eq!(read(&first, "up/deep/er/empty", 0).await.unwrap(), b"");
        let mut arrived = second.meta("new/picture").await.unwrap().unwrap();
        assert_eq!(arrived.user.remove("cutover-run").as_deref(), Some("run-1"));
        assert_eq!(arrived, meta);

        // Users go on, on the new side.
        put(&first, "up/deep/ü b.bin", b"changed by a user").await;
        put(&second, "new/by/a user", b"created by a user").await;
        for set in &plan.file_sets {
            let report = sync::reverse_set(&cx, set).await.unwrap();
            assert_eq!((report.updated + report.created, report.open, report.deleted), (1, 0, 0), "{report:?}");
            undo_set(&cx, set).await.unwrap();
        }
        assert_eq!(std::fs::read(media.join("uploads/deep/ü b.bin")).unwrap(), b"changed by a user");
        assert_eq!(read(&first, "old/by/a user", 0).await.unwrap(), b"created by a user");
        first.delete("old/by/a user").await.unwrap();
        assert_eq!((keys(&first).await, keys(&second).await), before);
        ledger.close().await;
    };
    tokio::time::timeout(PATIENCE * 3, work).await.unwrap();
}
