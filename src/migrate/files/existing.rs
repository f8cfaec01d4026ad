//! Objects that stand in the target under a key that the run needs: whose they are, whether they are the same, and what
//! the plan's policy makes of them.

use super::{FileLane, facts::FileFacts, transfer::MARK};
use crate::{
    error::{FaultKind, Result},
    model::{Digest, ItemState},
    plan::OnExisting,
    ports::{BlobInfo, ItemRow},
};

/// Why a file is left out.
pub(crate) const ALREADY_THERE: &str = "same already there";

/// What is to be done with a file.
pub(super) enum Decision {
    /// Its item says how it ended.
    Ended(ItemRow),
    /// To be moved; only if nothing stands there, if so.
    Move(ItemRow, bool),
}

impl FileLane<'_> {
    /// Whether this object was stored by this run. Where a write cannot be guarded the lane looked before it wrote, and
    /// what stands there now is its own.
    pub(super) async fn is_ours(&self, key: &str) -> Result<bool> {
        if !self.guards_new().await? {
            return Ok(true);
        }
        let doing = format!("look at {key} in {}", self.to);
        let meta = self.lane.call(&doing, || self.new.meta(key)).await?;
        let run = self.lane.cx.work.run().to_string();
        Ok(meta.is_some_and(|meta| meta.user.get(MARK) == Some(&run)))
    }

    /// Decides about a file whose first attempt begins.
    pub(super) async fn decide_new(&self, item: ItemRow, facts: &FileFacts) -> Result<Decision> {
        if self.guards_new().await? {
            return Ok(Decision::Move(item, true));
        }
        let doing = format!("look for {} in {}", item.key, self.to);
        match self.lane.call(&doing, || self.new.head(&item.key)).await? {
            None => Ok(Decision::Move(item, false)),
            Some(standing) => self.meet(item, facts, &standing).await,
        }
    }

    /// Decides about a file that the run may have written: an earlier attempt was interrupted or failed, or its source
    /// changed since.
    pub(super) async fn decide_again(&self, mut item: ItemRow, facts: &FileFacts) -> Result<Decision> {
        let doing = format!("look for {} in {}", item.key, self.to);
        let Some(standing) = self.lane.call(&doing, || self.new.head(&item.key)).await? else {
            return Ok(Decision::Move(item, false));
        };
        let known = item.before.is_some() || item.digest.is_some();
        if !known && !self.is_ours(&item.key).await? {
            return self.meet(item, facts, &standing).await;
        }
        match self.same_as_source(&item, facts, &standing).await? {
            Some(digest) => {
                item.state = ItemState::Verified;
                item.bytes = standing.size;
                item.digest = Some(digest);
                item.reason.clear();
                item.error = None;
                Ok(Decision::Ended(item))
            }
            None => Ok(Decision::Move(item, false)),
        }
    }

    /// Somebody else's object stands there.
    pub(super) async fn meet(&self, mut item: ItemRow, facts: &FileFacts, standing: &BlobInfo) -> Result<Decision> {
        let policy = self.lane.cx.plan.migration.on_existing;
        // From here on it is as if the run had never touched the key.
        item.attempts = 0;
        if policy == OnExisting::Fail {
            item.state = ItemState::Failed;
            item.error = Some(FaultKind::Exists);
            item.reason = format!("something of {} bytes stands there already", standing.size);
            return Ok(Decision::Ended(item));
        }
        if policy == OnExisting::SkipSame
            && let Some(digest) = self.same_as_source(&item, facts, standing).await?
        {
            item.state = ItemState::Skipped;
            item.reason = ALREADY_THERE.into();
            item.digest = Some(digest);
            item.bytes = standing.size;
            return Ok(Decision::Ended(item));
        }
        let aside = self.aside(&item.key);
        let doing = format!("keep {} aside", item.key);
        let wanted = super::Wanted { sha256: standing.sha256, size: None };
        self.move_within(&item.key, &aside, wanted, &doing).await?;
        item.before = Some(aside.into());
        Ok(Decision::Move(item, false))
    }

    /// The SHA-256 that both sides have, if they are the same.
    async fn same_as_source(&self, item: &ItemRow, facts: &FileFacts, standing: &BlobInfo) -> Result<Option<Digest>> {
        if !self.is_listing() && facts.size.is_some_and(|wanted| wanted != standing.size) {
            return Ok(None);
        }
        let lane = &self.lane;
        let doing = format!("compare {}", item.key);
        let source = if let Some(sha256) = facts.sha256 {
            sha256
        } else {
            let read = lane.call(&doing, || self.gear.hash(self.old.as_ref(), &item.source)).await?;
            let Some((_, digest)) = read.filter(|(length, _)| *length == standing.size) else { return Ok(None) };
            digest
        };
        let held = if let Some(held) = standing.sha256 {
            Some(held)
        } else {
            let read = lane.call(&doing, || self.gear.hash(self.new.as_ref(), &item.key)).await?;
            read.map(|(_, digest)| digest)
        };
        Ok(held.filter(|held| *held == source))
    }
}
