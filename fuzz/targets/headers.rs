//! Headers on their way to the origin and back, and the small languages within them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use margrave_shared::device::DeviceKeys;
use margrave_shared::forwarding::{asks_for_socket, body_bound, has_body, of_client, of_origin};
use margrave_shared::header::{cookies, is_dropped_from_client, is_own_cookie, read_authorization};
use margrave_shared::header_list::HeaderList;
use margrave_shared::secret::SecretKey;
use margrave_shared::time::UnixMs;
use margrave_shared::trace::Trace;
use margrave_shared::wire::device::{DeviceClaim, DeviceStanding};
use margrave_shared::wire::session_seen::SessionSeen;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = core::str::from_utf8(data) else { return };
    let now = UnixMs::from_seconds(1_800_000_000);
    // The runtime gives names in lower case and no line feeds.
    let lines = text
        .split('\n')
        .enumerate()
        .map(|(i, line)| if i % 2 == 0 { line.to_ascii_lowercase() } else { line.to_owned() });
    let lines: Vec<String> = lines.collect();
    if let Ok(received) = HeaderList::read(lines.iter().map(String::as_str)) {
        let kept = of_client(&received, true);
        for (name, value) in kept.iter() {
            assert!(!is_dropped_from_client(name), "{name}");
            let spelt = name.replace('_', "-");
            assert!(
                !spelt.starts_with("margrave-") && spelt != "traceparent" && spelt != "authorization",
                "{name}"
            );
            if name == "cookie" {
                assert!(!value.split([';', ',']).any(is_own_cookie), "{value}");
            }
        }
        for personal in [true, false] {
            let kept = of_origin(&received, personal, "id", &HeaderList::default());
            for (name, value) in kept.iter() {
                assert!(
                    name == "margrave-request-id" || !name.replace('_', "-").starts_with("margrave-"),
                    "{name}"
                );
                assert!(name != "set-cookie" || !is_own_cookie(value), "{value}");
                assert!(
                    !personal
                        || name != "cache-control"
                        || value.contains("private")
                        || value.contains("no-store")
                );
            }
            assert_eq!(kept.iter().filter(|(name, _)| *name == "margrave-request-id").count(), 1);
        }
        let _ = body_bound(&received, Some(1000));
        for method in ["GET", "HEAD", "POST"] {
            let _ = (has_body(method, &received), asks_for_socket(method, &received));
        }
        let trace = Trace::of(received.get("traceparent"), [7; 16]);
        let printed = trace.print([1; 8]);
        assert_eq!(printed.len(), 55);
        assert_eq!(Trace::of(Some(&printed), [8; 16]).id(), trace.id());
    }
    let _ = read_authorization(Some(text));
    for value in cookies(text, "__Host-mg-device") {
        assert!(!value.contains([';', ',']));
    }
    // Nobody signs by chance.
    assert!(DeviceKeys::of(&SecretKey::from_bytes([1; 32]).into()).read(text, now).is_err());
    if let Some(claim) = DeviceClaim::parse(text) {
        assert_eq!(DeviceClaim::parse(&claim.print()), Some(claim));
    }
    if let Some(seen) = SessionSeen::parse(text) {
        assert_eq!(SessionSeen::parse(&seen.print()), Some(seen));
    }
    if let Some(standing) = DeviceStanding::parse(text) {
        assert_eq!(DeviceStanding::parse(&standing.print()), Some(standing));
    }
});
