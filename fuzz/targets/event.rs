//! Batches of endings, pulled and pushed, in any order.
#![no_main]

use libfuzzer_sys::fuzz_target;
use margrave_shared::event::Batch;
use margrave_shared::event_log::EventLog;
use margrave_shared::json::Json;
use margrave_shared::revocation::{Cursor, RevocationSet};
use margrave_shared::time::UnixMs;

fuzz_target!(|data: &[u8]| {
    // Several batches, one a line.
    let mut log = EventLog::new(Cursor::default(), [], 0);
    let now = UnixMs::from_seconds(50);
    for (tick, line) in (1..).zip(data.split(|b| *b == b'\n')) {
        let Ok(json) = Json::parse(line) else { continue };
        let Ok(batch) = Batch::from_json(&json) else { continue };
        assert!(batch.from <= batch.to && batch.to <= batch.head);
        assert!(batch.events.iter().all(|event| event.seq > batch.from && event.seq <= batch.to));
        let printed = serde_json::to_vec(&batch).expect("JSON");
        let again = Batch::from_json(&Json::parse(&printed).expect("its own print")).expect("its own print");
        assert_eq!(again, batch);
        let mut set = RevocationSet::default();
        for event in &batch.events {
            set.apply(event);
        }
        set.forget_dead(now);
        if let Ok(change) = log.push(batch.clone(), tick, now) {
            let cursor = log.since(&Cursor::default(), -1);
            log.apply(change.clone());
            // The same push once more changes nothing.
            let once = log.clone();
            if let Ok(second) = log.push(batch, tick, now) {
                log.apply(second);
                assert_eq!(log.events().collect::<Vec<_>>(), once.events().collect::<Vec<_>>());
            }
            let _ = cursor;
        }
        let _ = log.forget_dead(now);
    }
    if let Ok(text) = core::str::from_utf8(data)
        && let Some(cursor) = Cursor::parse(text)
    {
        assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
    }
});
