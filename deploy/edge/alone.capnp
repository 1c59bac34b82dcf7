# An edge in one process: it judges requests and has its objects. Say on the command line where things are:
#   workerd serve --experimental alone.capnp --socket-addr http=127.0.0.1:8400 --directory-path objects=/var/lib/margrave/objects \
#     --external-addr issuer=127.0.0.1:8080 --external-addr origin=127.0.0.1:9000
using Workerd = import "/workerd/workerd.capnp";
using Edge = import "worker.capnp";

const config :Workerd.Config = (
  services = [
    (name = "edge", worker = .edge),
    (name = "objects", disk = (path = "objects", writable = true)),
    (name = "issuer", external = (address = "127.0.0.1:8080", http = ())),
    (name = "origin", external = (address = "127.0.0.1:9000", http = ())),
    # further origins
  ],
  sockets = [(name = "http", address = "127.0.0.1:8400", http = (), service = "edge")],
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
    (name = "ORIGIN", service = "origin"),
    (name = "EDGE_OVERRIDES", fromEnvironment = "EDGE_OVERRIDES"),
    (name = "EDGE_SIGNING_KEY", fromEnvironment = "EDGE_SIGNING_KEY"),
    (name = "LIMITER_KEY", fromEnvironment = "LIMITER_KEY"),
    (name = "METRICS_KEY", fromEnvironment = "METRICS_KEY"),
    (name = "HOP_KEY", fromEnvironment = "HOP_KEY"),
    # bindings of further origins
  ],
);
