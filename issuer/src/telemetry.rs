//! Structured logs on stderr, and traces by OTLP. What may never be in them: secrets, tokens, logins, addresses.

use crate::clock::Stopwatch;
use crate::failure::Failure;
use crate::outbound::Fetcher;
use crate::sampling::Share;
use bytes::Bytes;
use http::{Request, Response};
use margrave_shared::trace::Trace;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, TracerProvider as _,
};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Handle;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

fn filter() -> EnvFilter {
    EnvFilter::try_from_env("MARGRAVE_LOG").unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn"))
}

/// Starts logging for a person at a terminal: plain lines; `MARGRAVE_LOG` filters (default `info`).
pub(crate) fn start_for_a_command() {
    let builder = tracing_subscriber::fmt().with_env_filter(filter()).with_writer(std::io::stderr);
    // A second start in one process (tests) keeps the first.
    let _ = builder.compact().with_target(false).try_init();
}

/// Traces that are being sent; [`Traces::end`] sends the last.
#[derive(Debug)]
pub(crate) struct Traces(Option<SdkTracerProvider>);

/// Starts logging for a server: JSON lines. With an endpoint, `<collector>/v1/traces`, spans are sent there by OTLP: those of a share of
/// all traces.
///
/// # Errors
/// [`Failure::Internal`] where no calls can be made.
pub(crate) fn start_for_a_server(endpoint: Option<&str>, share: Share) -> Result<Traces, Failure> {
    let provider = endpoint.map(|endpoint| provider(endpoint, share)).transpose()?;
    let spans = provider.as_ref().map(|provider| {
        // Spans of this program alone, and whatever the log's filter says.
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("margrave"))
            .with_location(false)
            .with_threads(false)
            .with_filter(filter_fn(|metadata| {
                metadata.is_span() && metadata.target().starts_with("margrave_issuer")
            }))
    });
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .with_target(false)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(std::io::stderr)
        .with_filter(filter());
    let _ = tracing_subscriber::registry().with(lines).with(spans).try_init();
    Ok(Traces(provider))
}

fn provider(endpoint: &str, share: Share) -> Result<SdkTracerProvider, Failure> {
    let client = Calls { fetcher: Fetcher::new()?, runtime: Handle::current(), complaints: Arc::default() };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_endpoint(endpoint)
        .build()
        .map_err(|_| Failure::Internal("traces cannot be sent"))?;
    let resource = Resource::builder_empty().with_service_name("margrave-issuer").build();
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(share)
        .with_resource(resource)
        .build())
}

impl Traces {
    /// Sends what is left.
    pub(crate) async fn end(self) {
        let Some(provider) = self.0 else { return };
        // It waits for calls that this runtime makes.
        let _ = tokio::task::spawn_blocking(move || provider.shutdown()).await;
    }
}

/// The exporter's way out. It has a thread of its own, and calls are made where the fetcher lives.
#[derive(Debug)]
struct Calls {
    fetcher: Fetcher,
    runtime: Handle,
    complaints: Arc<Complaints>,
}

/// That traces are lost is said once a minute.
#[derive(Debug, Default)]
struct Complaints(Mutex<Option<Stopwatch>>);

impl Complaints {
    fn say(&self, why: &str) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.seconds() > 60.0) {
            *last = Some(Stopwatch::start());
            tracing::warn!(why, "traces are lost: `otlp_endpoint` does not take them");
        }
    }
}

type Sent<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Calls {
    fn send_bytes<'life, 'call>(&'life self, request: Request<Bytes>) -> Sent<'call>
    where
        'life: 'call,
        Self: 'call,
    {
        let (fetcher, complaints) = (self.fetcher.clone(), Arc::clone(&self.complaints));
        let call = self.runtime.spawn(async move {
            let url = request.uri().to_string();
            let answer = fetcher.post(&url, "application/x-protobuf", request.into_body()).await;
            match &answer {
                Ok(answer) if answer.status < 300 => {}
                Ok(answer) => complaints.say(&format!("the collector answers {}", answer.status)),
                Err(error) => complaints.say(&error.to_string()),
            }
            let answer = answer?;
            Ok(Response::builder().status(answer.status).body(Bytes::new())?)
        });
        Box::pin(async move { call.await? })
    }
}

/// Makes a span a part of the trace that an edge has begun.
pub(crate) fn continue_trace(span: &Span, traceparent: &str) {
    let Some((id, parent, is_sampled)) = Trace::parent(traceparent) else { return };
    let flags = if is_sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let (Ok(id), Ok(parent)) = (TraceId::from_hex(id), SpanId::from_hex(parent)) else { return };
    let context = SpanContext::new(id, parent, flags, true, TraceState::default());
    // Nothing where no traces are sent.
    let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(context));
}
