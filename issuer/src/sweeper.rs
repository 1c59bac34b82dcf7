//! Removes what has died, in bounded batches. Safe with several processes: deleting a row twice is no harm.

use crate::app::App;
use crate::storage::StorageError;
use crate::{
    accounts, devices, edges, factors, idempotency, limiter, notify, recovery, revocations, sessions, tokens,
};
use margrave_shared::time::UnixMs;
use std::sync::Arc;
use std::time::Duration;

/// How often a process sweeps.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// The most rows of one table in one transaction: short enough that nobody waits for the lock.
const BATCH: i64 = 500;

/// The most rows of one table that people wait for.
const FEW: i64 = 50;

/// How far ahead a process's clock may be without its taking away what lives by the others'.
const CLOCKS_APART_MS: i64 = 3_600_000;

/// Sweeps until the process ends.
pub(crate) async fn run(app: Arc<App>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        match sweep(&app, app.clock.now()).await {
            Ok(0) => {}
            Ok(rows) => tracing::debug!(rows, "swept"),
            Err(error) => tracing::warn!(%error, "the sweeper will try again"),
        }
    }
}

/// Sweeps every table until nothing dead is left; gives how many rows went.
pub(crate) async fn sweep(app: &App, now: UnixMs) -> Result<u64, StorageError> {
    let dead_at = now.plus_ms(-CLOCKS_APART_MS);
    let mut total = 0;
    loop {
        // By itself: an attempt locks several of these rows in an order of its own.
        let mut tx = app.db.begin_long().await?;
        let buckets = limiter::delete_full(&mut tx, dead_at, BATCH).await?
            + accounts::give_audit_keys(app, &mut tx, FEW).await?;
        tx.commit().await?;
        let mut tx = app.db.begin_long().await?;
        let rows = factors::delete_dead(&mut tx, dead_at, BATCH).await?
            + edges::delete_dead(&mut tx, dead_at).await?
            + tokens::delete_dead(&mut tx, dead_at, BATCH).await?
            + idempotency::delete_dead(&mut tx, dead_at, BATCH).await?
            + notify::delete_dead(&mut tx, dead_at, BATCH).await?
            // In the order in which whoever resets an account takes them.
            + recovery::delete_dead(&mut tx, dead_at, BATCH).await?
            + devices::delete_dead(&mut tx, dead_at, BATCH).await?
            + sessions::delete_dead(&mut tx, dead_at, BATCH).await?
            + revocations::store::delete_dead(&mut tx, dead_at, BATCH).await?;
        tx.commit().await?;
        total += rows + buckets;
        if rows + buckets == 0 {
            return Ok(total);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Db;
    use crate::storage::testing::on_both_databases;
    use crate::testing::World;

    async fn several_sweep_at_once_while_people_log_in(db: Db) {
        let world = Arc::new(World::new(db).await);
        for _ in 0..40 {
            let answer = world.log_in("alice").await.unwrap();
            world.refresh(&answer).await.unwrap();
        }
        world.pass_s(14 * 3600 + 1);
        let processes =
            [Arc::clone(&world.app), world.another_process().await, world.another_process().await];
        let sweepers: Vec<_> = (0..9)
            .map(|number| {
                let app = Arc::clone(&processes[number % processes.len()]);
                tokio::spawn(async move { sweep(&app, app.clock.now()).await })
            })
            .collect();
        let mut alive = Vec::new();
        for _ in 0..10 {
            let answer = world.log_in("alice").await.unwrap();
            alive.push(world.refresh(&answer).await.unwrap());
        }
        let mut swept = 0;
        for sweeper in sweepers {
            swept += sweeper.await.unwrap().unwrap();
        }
        // A security token, two refresh tokens and a session of each login; each once.
        assert!((160..=165).contains(&swept), "{swept}");
        assert_eq!(sweep(&world.app, world.app.clock.now()).await.unwrap(), 0);
        for answer in alive {
            world.refresh(&answer).await.unwrap();
        }
    }
    on_both_databases!(several, super::several_sweep_at_once_while_people_log_in);
}
