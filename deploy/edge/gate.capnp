# One of several gates: it judges requests, and asks the state process for what all gates must agree on.
using Workerd = import "/workerd/workerd.capnp";
using Edge = import "worker.capnp";

const config :Workerd.Config = (
  services = [
    (name = "edge", worker = .edge),
    (name = "state", external = (address = "unix:state.sock", http = ())),
    (name = "issuer", external = (address = "127.0.0.1:8080", http = ())),
    (name = "origin", external = (address = "127.0.0.1:9000", http = ())),
    # further origins
  ],
  # Nobody but the proxy may reach it: who does can say that he is somebody else (`client_address = "forwarded:1"`).
  sockets = [(name = "http", address = "unix:gate.sock", http = (), service = "edge")],
);

const edge :Workerd.Worker = (
  compatibilityDate = "2026-11-01",
  modules = Edge.modules,
  # The classes are there; their objects are in the state process.
  durableObjectStorage = (none = void),
  bindings = [
    (name = "STATE", service = "state"),
    (name = "ISSUER", service = "issuer"),
    (name = "ORIGIN", service = "origin"),
    (name = "EDGE_OVERRIDES", fromEnvironment = "EDGE_OVERRIDES"),
    (name = "EDGE_SIGNING_KEY", fromEnvironment = "EDGE_SIGNING_KEY"),
    (name = "LIMITER_KEY", fromEnvironment = "LIMITER_KEY"),
    (name = "METRICS_KEY", fromEnvironment = "METRICS_KEY"),
    (name = "STATE_KEY", fromEnvironment = "STATE_KEY"),
    (name = "HOP_KEY", fromEnvironment = "HOP_KEY"),
    # bindings of further origins
  ],
);
