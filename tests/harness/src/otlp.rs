//! A collector of traces (OTLP over HTTP, https://opentelemetry.io/docs/specs/otlp/) that keeps what it
//! gets, and shows it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{Identity, eventually};

/// A span as it arrived. Ids are in hexadecimal; `parent` is empty for the first of a trace.
#[derive(Debug, Clone)]
pub struct Seen {
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub name: String,
    pub kind: &'static str,
    pub attributes: BTreeMap<String, String>,
    pub links: Vec<Link>,
    pub failed: bool,
    pub start_ns: u64,
    pub end_ns: u64,
    /// What is said of the process that sent it.
    pub resource: BTreeMap<String, String>,
}

/// What a span is linked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub trace: String,
    pub id: String,
}

#[derive(Default)]
struct State {
    spans: Vec<Seen>,
    /// The head of each request, up to its body.
    heads: Vec<String>,
    refuses: bool,
}

/// The collector. It stops with the test's runtime.
#[derive(Clone)]
pub struct Collector {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Collector {
    pub async fn start() -> Collector {
        Collector::start_with(None).await
    }

    /// One that speaks TLS.
    pub async fn start_encrypted(identity: &Identity) -> Collector {
        Collector::start_with(Some(identity.acceptor())).await
    }

    async fn start_with(tls: Option<TlsAcceptor>) -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let collector =
            Collector { address: listener.local_addr().unwrap(), state: Arc::default() };
        let state = Arc::clone(&collector.state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, tls) = (Arc::clone(&state), tls.clone());
                // A client that hangs up ends its request, and nothing else.
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &state).await,
                        Some(tls) => serve(tls.accept(stream).await?, &state).await,
                    }
                });
            }
        });
        collector
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Whether it answers 400 from now on.
    pub fn refuse(&self, refuses: bool) {
        self.state.lock().unwrap().refuses = refuses;
    }

    pub fn spans(&self) -> Vec<Seen> {
        self.state.lock().unwrap().spans.clone()
    }

    pub fn heads(&self) -> Vec<String> {
        self.state.lock().unwrap().heads.clone()
    }

    /// The first span that is like that, once there is one.
    pub async fn span(&self, what: &str, like: impl Fn(&Seen) -> bool) -> Seen {
        eventually(&format!("a span: {what}"), || async {
            self.spans().into_iter().find(|span| like(span))
        })
        .await
    }

    /// A trace as text, a line a span, each below its parent.
    pub fn text(&self, trace: &str) -> String {
        let mut spans = self.spans();
        spans.retain(|span| span.trace == trace);
        spans.sort_by_key(|span| span.start_ns);
        let begin = spans.first().map_or(0, |span| span.start_ns);
        let mut text = format!("trace {trace}\n");
        let known = |id: &str| spans.iter().any(|span| span.id == id);
        for root in spans.iter().filter(|span| !known(&span.parent)) {
            write_span(&mut text, &spans, root, begin, 0);
        }
        text
    }
}

fn write_span(text: &mut String, spans: &[Seen], span: &Seen, begin: u64, depth: usize) {
    let ms = |ns: u64| ns as f64 / 1e6;
    let indent = "  ".repeat(depth);
    let service = &span.resource["service.name"];
    let _ = writeln!(
        text,
        "{indent}{} ({}, {service}) +{:.1} ms, {:.1} ms{}",
        span.name,
        span.kind,
        ms(span.start_ns - begin),
        ms(span.end_ns - span.start_ns),
        if span.failed { ", failed" } else { "" }
    );
    for (name, value) in &span.attributes {
        let _ = writeln!(text, "{indent}    {name} = {value}");
    }
    for link in &span.links {
        let _ = writeln!(text, "{indent}    linked to {} in {}", link.id, link.trace);
    }
    for child in spans.iter().filter(|child| child.parent == span.id) {
        write_span(text, spans, child, begin, depth + 1);
    }
}

async fn serve<S>(stream: S, state: &Mutex<State>) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = BufReader::new(stream);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let refuses = {
            let mut state = state.lock().unwrap();
            state.heads.push(head);
            if !state.refuses {
                let request = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
                state.spans.extend(seen(request));
            }
            state.refuses
        };
        let status = if refuses { "400 Bad Request" } else { "200 OK" };
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"
        );
        stream.write_all(answer.as_bytes()).await?;
    }
}

fn seen(request: ExportTraceServiceRequest) -> Vec<Seen> {
    let mut all = Vec::new();
    for of_process in request.resource_spans {
        let resource = attributes(&of_process.resource.unwrap_or_default().attributes);
        let spans = of_process.scope_spans.into_iter().flat_map(|scope| scope.spans);
        all.extend(spans.map(|span| of(span, resource.clone())));
    }
    all
}

fn of(span: Span, resource: BTreeMap<String, String>) -> Seen {
    const KINDS: [&str; 6] =
        ["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"];
    const FAILED: i32 = 2;
    Seen {
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        kind: KINDS[usize::try_from(span.kind).unwrap()],
        attributes: attributes(&span.attributes),
        links: span
            .links
            .iter()
            .map(|link| Link { trace: hex(&link.trace_id), id: hex(&link.span_id) })
            .collect(),
        failed: span.status.is_some_and(|status| status.code == FAILED),
        start_ns: span.start_time_unix_nano,
        end_ns: span.end_time_unix_nano,
        name: span.name,
        resource,
    }
}

fn attributes(list: &[KeyValue]) -> BTreeMap<String, String> {
    let value = |pair: &KeyValue| match pair.value.clone().and_then(|any| any.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    list.iter().map(|pair| (pair.key.clone(), value(pair))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
