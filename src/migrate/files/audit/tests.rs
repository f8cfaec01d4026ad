use super::{Audit, VerifyLevel, audit, audited, common_beginning};
use crate::{
    error::FaultKind,
    migrate::{
        files::copy,
        world::{World, blob_key, files},
    },
    model::LaneId,
    ports::{ItemVerdict, VerdictQuery, Work, fakes::Mishap},
};

fn lane() -> LaneId {
    LaneId::new("files-content")
}

/// Nine files copied; then one lost, one changed in the target, and one besides in either bucket.
async fn world() -> World {
    let world = World::new(0, 9);
    copy(&world.start(), &files()).await.unwrap();
    world.r2.remove(&blob_key(1));
    world.r2.put_bytes(&blob_key(2), "changed by somebody else");
    world.r2.put_bytes("users/1/stray", "not ours");
    world.r2.put_bytes("elsewhere/stray", "below another beginning");
    world.r2.put_bytes(".cutover-aside/x", "a run's own");
    world.media.put_bytes("media/orphan.csv", "nobody speaks of it");
    // Its record came after the listing.
    world.add_file(20);
    world.r2.put_bytes(&blob_key(20), crate::migrate::world::bytes(20));
    world
}

fn expected() -> Audit {
    Audit {
        lane: lane(),
        level: VerifyLevel::Content,
        complete: true,
        same: 8,
        differs: 1,
        only_in_source: 2,
        only_in_target: 1,
        error: 0,
        unasked: 1,
        orphans: 1,
        unlisted: String::new(),
    }
}

#[tokio::test]
async fn finds_all_five_and_marks_nothing() {
    let world = world().await;
    let before = world.work.all(&lane());
    assert_eq!(audited(world.work.as_ref(), &lane()).await.unwrap(), None);
    let found = audit(&world.start(), &files(), VerifyLevel::Content, false).await.unwrap();
    assert_eq!(found, expected());
    assert!(found.has_differences());
    assert_eq!(audited(world.work.as_ref(), &lane()).await.unwrap(), Some(found));
    assert_eq!(world.work.all(&lane()), before, "no item is marked");
    let query = VerdictQuery {
        verdicts: vec![ItemVerdict::OnlyInSource, ItemVerdict::OnlyInTarget],
        limit: 9,
        ..VerdictQuery::default()
    };
    let rows = world.work.verdicts(&lane(), &query).await.unwrap();
    let told: Vec<_> = rows.iter().map(|row| (row.key.as_str(), row.detail.as_str())).collect();
    let lost = blob_key(1);
    assert_eq!(
        told,
        [
            ("(source) media/orphan.csv", "no record speaks of it"),
            (lost.as_str(), "missing"),
            ("users/1/stray", "no record asks for it"),
        ]
    );
}

#[tokio::test]
async fn what_no_record_speaks_of_is_no_difference() {
    let world = World::new(0, 3);
    copy(&world.start(), &files()).await.unwrap();
    world.r2.put_bytes("users/1/stray", "not ours");
    world.media.put_bytes("media/orphan.csv", "nobody speaks of it");
    let found = audit(&world.start(), &files(), VerifyLevel::Checksum, false).await.unwrap();
    assert_eq!((found.unasked, found.orphans, found.has_differences()), (1, 1, false));
}

#[tokio::test]
async fn interrupted_anywhere_it_goes_on_and_finds_the_same() {
    let calls = {
        let world = world().await;
        let before = world.trouble.calls();
        audit(&world.start(), &files(), VerifyLevel::Content, false).await.unwrap();
        world.trouble.calls() - before
    };
    for call in 1..=calls {
        for mishap in [Mishap::Crash, Mishap::CrashAfter] {
            let world = world().await;
            let cx = world.start();
            world.trouble.at(call, mishap);
            if let Err(fault) = audit(&cx, &files(), VerifyLevel::Content, false).await {
                assert_eq!(fault.kind, FaultKind::Cancelled, "{}", fault.chain());
            }
            let read = world.trouble.calls();
            let found = audit(&world.start(), &files(), VerifyLevel::Content, false).await.unwrap();
            assert_eq!(found, expected(), "interrupted at {call} {mishap:?}");
            // One that was noted as complete just before is followed by a new one.
            if call > calls / 2 && call < calls - 2 {
                assert!(world.trouble.calls() - read < calls, "went on rather than began anew");
            }
        }
    }
}

#[tokio::test]
async fn a_source_that_cannot_be_listed_says_so() {
    let world = World::new(0, 3);
    copy(&world.start(), &files()).await.unwrap();
    let cx = world.start();
    world.trouble.always("media.list", Mishap::Fail(FaultKind::Refused));
    let found = audit(&cx, &files(), VerifyLevel::Checksum, false).await.unwrap();
    assert!(found.complete && !found.has_differences() && found.unlisted.contains("media.list"), "{found:?}");
}

#[test]
fn the_beginning_ends_at_the_first_expression() {
    for (template, beginning) in
        [("users/{{ id }}", "users/"), ("{{ id }}", ""), ("a/{% if x %}b{% endif %}", "a/"), ("plain", "plain")]
    {
        assert_eq!(common_beginning(template), beginning);
    }
}
