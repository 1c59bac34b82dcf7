# What every process of an edge is made of: the files that `cargo xtask build-edge` fills edge/build/ with, beside
# edge.toml. alone.capnp, state.capnp and gate.capnp say what a process does with it.
@0xd2b1f0a4c3e59687;

using Workerd = import "/workerd/workerd.capnp";

const modules :List(Workerd.Worker.Module) = [
  (name = "entry.js", esModule = embed "entry.js"),
  (name = "carry.js", esModule = embed "carry.js"),
  (name = "stream.js", esModule = embed "stream.js"),
  (name = "index.js", esModule = embed "index.js"),
  (name = "index_bg.wasm", wasm = embed "index_bg.wasm"),
  (name = "edge.toml", text = embed "edge.toml"),
];

# By these keys the objects' files are found again: they never change.
const objects :List(Workerd.Worker.DurableObjectNamespace) = [
  (className = "AccountObject", uniqueKey = "margrave-accounts", enableSql = true),
  (className = "LimiterObject", uniqueKey = "margrave-limiters", enableSql = true),
  (className = "FeedObject", uniqueKey = "margrave-feed", enableSql = true),
];
