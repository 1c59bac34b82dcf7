//! URLs, and which route they have.
#![no_main]

use libfuzzer_sys::fuzz_target;
use margrave_shared::path::Target;
use margrave_shared::permission::Permission;
use margrave_shared::route_policy::RouteConfig;
use margrave_shared::route_table::RouteTable;
use std::sync::LazyLock;

static TABLE: LazyLock<RouteTable> = LazyLock::new(|| {
    let route = |path: &str, permission: &str| {
        let text = format!(r#"{{"path":"{path}","permissions":["{permission}"]}}"#);
        serde_json::from_str::<RouteConfig>(&text).expect("a route")
    };
    let routes =
        [route("/", "root"), route("/a/*", "a"), route("/a/admin/*", "admin"), route("/a/admin", "exact")];
    RouteTable::new(&routes).expect("the routes")
});

fuzz_target!(|data: &[u8]| {
    let Ok(path) = core::str::from_utf8(data) else { return };
    let Ok(target) = Target::parse(&format!("http://h/{path}")) else { return };
    let printed = target.path_and_query();
    // What goes to the origin has the same reading as what was judged.
    let again = Target::parse(&format!("http://h{printed}")).expect("its own print");
    assert_eq!(again.path_and_query(), printed);
    assert_eq!(again.segments(), target.segments());
    assert!(printed.is_ascii() && !printed.contains([' ', '#']), "{printed}");
    let lower = printed.split('?').next().unwrap_or("").to_ascii_lowercase();
    assert!(!lower.contains(['\\', ';']) && !lower.contains("//"), "{printed}");
    for confusing in ["/../", "/./", "%2f", "%5c", "%2e", "%00", "%25"] {
        assert!(!lower.contains(confusing) && !format!("{lower}/").contains(confusing), "{printed}");
    }
    let permission = |target: &Target| TABLE.find(target).map(|policy| policy.permissions.clone());
    assert_eq!(permission(&again), permission(&target));
    // Whoever reads the sent path plainly finds the stricter route where it is.
    if lower == "/a/admin" || lower.starts_with("/a/admin/") {
        let admin: Vec<Permission> =
            ["admin", "exact"].iter().map(|p| Permission::parse(p).expect("one")).collect();
        assert!(permission(&target).is_some_and(|held| held.iter().all(|p| admin.contains(p))), "{printed}");
    }
});
