# The state process behind several gates: it has the objects of all, follows the issuer's feed, and judges no request.
# It answers who holds STATE_KEY, over a Unix socket or a network that nobody else is in. Only one may run on one folder.
using Workerd = import "/workerd/workerd.capnp";
using Edge = import "worker.capnp";

const config :Workerd.Config = (
  services = [
    (name = "edge", worker = .edge),
    (name = "objects", disk = (path = "objects", writable = true)),
    (name = "issuer", external = (address = "127.0.0.1:8080", http = ())),
  ],
  sockets = [
    (name = "http", address = "unix:state.sock", http = (), service = (name = "edge", entrypoint = "State")),
  ],
);

const edge :Workerd.Worker = (
  compatibilityDate = "2026-11-01",
  modules = Edge.modules,
  durableObjectNamespaces = Edge.objects,
  durableObjectStorage = (localDisk = "objects"),
  bindings = [
    (name = "ACCOUNTS", durableObjectNamespace = "AccountObject"),
    (name = "LIMITERS", durableObjectNamespace = "LimiterObject"),
    (name = "FEED", durableObjectNamespace = "FeedObject"),
    (name = "ISSUER", service = "issuer"),
    (name = "EDGE_OVERRIDES", fromEnvironment = "EDGE_OVERRIDES"),
    (name = "EDGE_SIGNING_KEY", fromEnvironment = "EDGE_SIGNING_KEY"),
    (name = "LIMITER_KEY", fromEnvironment = "LIMITER_KEY"),
    (name = "STATE_KEY", fromEnvironment = "STATE_KEY"),
    (name = "HOP_KEY", fromEnvironment = "HOP_KEY"),
    # bindings of further origins
  ],
);
