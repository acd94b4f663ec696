//! Asks an endpoint over HTTP: one streamed answer, with retries, time limits, a size limit and Ctrl-C.
//!
//! A request is sent again only while nothing has been generated: from the first event on tokens are paid for, and
//! whether to pay twice is for the loop to decide. What differs between providers is a [`Dialect`].

use super::key::Key;
use super::stream::{Event, Events};
use super::{ANSWER_BYTES_MAX, Agent, AgentError, Answer, Request, Spent, Usage, quoted, tokens};
use lockstep_harness::watch::{Stop, Watch};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};
use serde_json::Value;
use std::path::Path;
use std::pin::pin;
use std::time::{Duration, Instant, SystemTime};

/// What differs between providers.
pub trait Dialect {
    /// The agent's name.
    fn name(&self) -> &'static str;
    /// Where questions go, below the base URL.
    fn path(&self) -> &'static str;
    /// The headers, with the key in one of them.
    fn headers(&self, key: Option<&Key>) -> HeaderMap;
    /// The question.
    fn body(&self, model: &str, request: &Request) -> Value;
    /// Takes one event of the stream.
    fn event(&self, event: &Event, partial: &mut Partial) -> Result<(), Fault>;
    /// Takes an answer that came whole, from an endpoint that does not stream.
    fn whole(&self, reply: &Value, partial: &mut Partial) -> Result<(), Fault>;
    /// Whether the question, refused with these words, can be put in other words.
    fn rephrase(&mut self, _message: &str) -> bool {
        false
    }
}

/// An answer as far as it has come.
#[derive(Debug, Default)]
pub struct Partial {
    /// What the model wrote.
    pub text: String,
    /// How long its thinking was, in bytes.
    pub thought_bytes: usize,
    /// How it names itself.
    pub model: Option<String>,
    /// Tokens that went in: all, cached, written to the cache.
    pub input: Option<(u64, u64, u64)>,
    /// Tokens that came out, by the last count.
    pub output: Option<u64>,
    /// Whether generation has begun.
    pub begun: bool,
    /// Why it ended.
    pub end: Option<End>,
    /// Whether nothing will follow.
    pub over: bool,
}

/// Why an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The model was done.
    Complete,
    /// A limit of its length.
    Truncated,
    /// The model, or a filter, would not.
    Declined(String),
}

/// What an event can be besides a piece of an answer.
#[derive(Debug)]
pub enum Fault {
    /// Not what this kind of endpoint sends.
    Malformed(String),
    /// An error that the endpoint reports inside its stream, as the status that it would have had.
    Said(u16, String),
}

impl Partial {
    /// What has been paid so far, as a lower bound; nothing that is known before generation has begun.
    fn spent(&self, request: &Request) -> Spent {
        if !self.begun {
            return None;
        }
        let mut usage = self.usage(request);
        usage.output_tokens = usage.output_tokens.max(self.out());
        usage.measured = false;
        Some(Box::new(usage))
    }

    fn usage(&self, request: &Request) -> Usage {
        let estimated = Usage::estimated(request, "");
        let (input_tokens, cached_tokens, written_tokens) = self.input.unwrap_or((estimated.input_tokens, 0, 0));
        Usage {
            input_tokens,
            cached_tokens: cached_tokens.min(input_tokens),
            written_tokens: written_tokens.min(input_tokens),
            output_tokens: self.output.unwrap_or_else(|| self.out()),
            measured: self.input.is_some() && self.output.is_some(),
            cost_usd: None,
        }
    }

    /// Tokens that came out, by their size.
    fn out(&self) -> u64 {
        tokens::estimate(&self.text) + self.thought_bytes as u64 / 4
    }
}

/// How long an endpoint may take, and how often it is asked.
#[derive(Debug, Clone)]
pub struct Limits {
    /// For a connection.
    pub connect: Duration,
    /// For nothing at all to arrive.
    pub silence: Duration,
    /// For the whole answer, waits between attempts included.
    pub answer: Duration,
    /// Attempts.
    pub attempts: u32,
    /// The wait before the second attempt, doubled before each further one.
    pub pause: Duration,
    /// Bytes of one answer.
    pub bytes: usize,
}

impl Limits {
    /// What is usual, with this limit for an answer.
    pub fn usual(answer: Duration) -> Self {
        Limits {
            connect: Duration::from_secs(20),
            // A model that thinks without saying so is silent for minutes.
            silence: Duration::from_secs(300),
            answer,
            attempts: 6,
            pause: Duration::from_secs(1),
            bytes: ANSWER_BYTES_MAX,
        }
    }
}

/// Where questions go.
#[derive(Debug)]
pub struct Target {
    /// The base URL.
    pub base: String,
    /// The model.
    pub model: String,
    /// The key; none for an endpoint that needs none.
    pub key: Option<Key>,
    /// The longest prompt in tokens.
    pub context_tokens: u64,
}

/// An endpoint as an agent.
pub struct Endpoint<D> {
    dialect: D,
    target: Target,
    url: Url,
    host: String,
    limits: Limits,
    client: Client,
    runtime: tokio::runtime::Runtime,
}

/// No wait before an attempt is longer, unless the endpoint asks for it.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How often a wait looks at Ctrl-C.
const TICK: Duration = Duration::from_millis(100);
/// So much of an error's body is read.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// What became of one attempt.
enum Attempt {
    /// There is nothing to gain by another.
    Failed(AgentError),
    /// Nothing was generated; it may be sent again, after this wait if the endpoint named one.
    Again(AgentError, Option<Duration>),
}

enum Waited<T> {
    Done(T),
    Stopped,
    Late,
}

impl<D: Dialect> Endpoint<D> {
    /// Checks the target and makes a client; nothing is sent.
    ///
    /// # Errors
    /// If the URL is not one, or a key would go over an open line, or the certificates can't be read.
    pub fn new(dialect: D, target: Target, ca_file: Option<&Path>, limits: Limits) -> Result<Self, AgentError> {
        let url = address(&target.base, dialect.path(), target.key.is_some())?;
        let host = shown(&url);
        let client = client(&url, ca_file, &limits)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| AgentError::Options(format!("no runtime for HTTP: {error}; try again")))?;
        Ok(Endpoint { dialect, target, url, host, limits, client, runtime })
    }

    fn attempts(&mut self, request: &Request, watch: &mut dyn Watch, stop: &Stop) -> Result<Answer, AgentError> {
        let begun = Instant::now();
        let until = begun + self.limits.answer;
        let mut attempt = 1;
        loop {
            let outcome = self.runtime.block_on(self.once(request, watch, stop, until));
            let (mut error, asked_for) = match outcome {
                Ok(mut answer) => {
                    answer.seconds = begun.elapsed().as_secs_f64();
                    return Ok(answer);
                }
                Err(Attempt::Failed(AgentError::Refused { host, status, message }))
                    if status == 400 && self.dialect.rephrase(&message) =>
                {
                    watch.say(&format!("{host} wants the question in other words; asking again"));
                    continue;
                }
                Err(Attempt::Failed(error)) => return Err(error),
                Err(Attempt::Again(error, asked_for)) => (error, asked_for),
            };
            if let AgentError::Busy { attempts, .. } = &mut error {
                *attempts = attempt;
            }
            let pause = pause(self.limits.pause, attempt, asked_for);
            if attempt >= self.limits.attempts || Instant::now() + pause >= until {
                return Err(error);
            }
            watch.say(&format!("{error}; attempt {} in {:.1} s", attempt + 1, pause.as_secs_f64()));
            if sleep(pause, stop) {
                return Err(AgentError::Stopped { spent: None });
            }
            attempt += 1;
        }
    }

    async fn once(
        &self,
        request: &Request,
        watch: &mut dyn Watch,
        stop: &Stop,
        until: Instant,
    ) -> Result<Answer, Attempt> {
        let body = serde_json::to_vec(&self.dialect.body(&self.target.model, request)).expect("JSON can be written");
        let sending = self
            .client
            .post(self.url.clone())
            .headers(self.dialect.headers(self.target.key.as_ref()))
            .header(CONTENT_TYPE, "application/json")
            .body(body)
            .send();
        let partial = Partial::default();
        let response = match self.wait(sending, stop, until).await {
            Waited::Done(Ok(response)) => response,
            Waited::Done(Err(error)) => {
                let error = AgentError::Unreachable { host: self.host.clone(), reason: self.reason(&error) };
                return Err(Attempt::Again(error, None));
            }
            Waited::Stopped => return Err(self.stopped(&partial, request)),
            Waited::Late => return Err(self.late(&partial, request, until)),
        };
        let status = response.status();
        if !status.is_success() {
            return Err(self.refused(response, stop, until).await);
        }
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match kind.as_str() {
            "text/event-stream" => self.stream(response, request, watch, stop, until).await,
            "application/json" => self.whole(response, request, stop, until).await,
            other => Err(Attempt::Failed(AgentError::Malformed {
                agent: self.host.clone(),
                reason: format!("its content type is {:?}, not a stream of events", quoted(other)),
                check: "--base-url is that of an API, and that no proxy answers in its place",
                spent: None,
            })),
        }
    }

    async fn stream(
        &self,
        mut response: Response,
        request: &Request,
        watch: &mut dyn Watch,
        stop: &Stop,
        until: Instant,
    ) -> Result<Answer, Attempt> {
        let (mut partial, mut events) = (Partial::default(), Events::default());
        let (mut bytes, mut told) = (0, 0);
        while !partial.over {
            let chunk = match self.wait(response.chunk(), stop, until).await {
                Waited::Done(Ok(Some(chunk))) => chunk,
                Waited::Done(Ok(None)) => break,
                Waited::Done(Err(error)) => return Err(self.cut(&self.reason(&error), &partial, request)),
                Waited::Stopped => return Err(self.stopped(&partial, request)),
                Waited::Late => return Err(self.late(&partial, request, until)),
            };
            bytes += chunk.len();
            if bytes > self.limits.bytes {
                return Err(self.too_large(&partial, request));
            }
            let new = events.push(&chunk).map_err(|reason| self.malformed(reason, &partial, request))?;
            for event in new {
                self.dialect.event(&event, &mut partial).map_err(|fault| self.fault(fault, &partial, request))?;
            }
            let out = partial.out();
            watch.advance(out - told);
            told = out;
        }
        self.finish(partial, request)
    }

    async fn whole(
        &self,
        response: Response,
        request: &Request,
        stop: &Stop,
        until: Instant,
    ) -> Result<Answer, Attempt> {
        let mut partial = Partial::default();
        let body = self.read(response, self.limits.bytes, request, stop, until).await?;
        let Some(body) = body else { return Err(self.too_large(&partial, request)) };
        let reply = serde_json::from_slice(&body)
            .map_err(|error| self.malformed(format!("its JSON can't be read: {error}"), &partial, request))?;
        self.dialect.whole(&reply, &mut partial).map_err(|fault| self.fault(fault, &partial, request))?;
        self.finish(partial, request)
    }

    /// The whole body; none if it is larger than `limit`.
    async fn read(
        &self,
        mut response: Response,
        limit: usize,
        request: &Request,
        stop: &Stop,
        until: Instant,
    ) -> Result<Option<Vec<u8>>, Attempt> {
        let partial = Partial::default();
        let mut body = Vec::new();
        loop {
            match self.wait(response.chunk(), stop, until).await {
                Waited::Done(Ok(Some(chunk))) if body.len() + chunk.len() <= limit => body.extend_from_slice(&chunk),
                Waited::Done(Ok(Some(_))) => return Ok(None),
                Waited::Done(Ok(None)) => return Ok(Some(body)),
                Waited::Done(Err(error)) => return Err(self.cut(&self.reason(&error), &partial, request)),
                Waited::Stopped => return Err(self.stopped(&partial, request)),
                Waited::Late => return Err(self.late(&partial, request, until)),
            }
        }
    }

    fn finish(&self, partial: Partial, request: &Request) -> Result<Answer, Attempt> {
        let truncated = match &partial.end {
            Some(End::Complete) => false,
            Some(End::Truncated) => true,
            Some(End::Declined(reason)) => {
                let (reason, spent) = (self.clean(reason), partial.spent(request));
                return Err(Attempt::Failed(AgentError::Declined { reason, spent }));
            }
            None => return Err(self.cut("the stream ended before the answer did", &partial, request)),
        };
        let usage = partial.usage(request);
        let model = partial.model.map_or_else(|| self.target.model.clone(), |model| quoted(&model));
        Ok(Answer { text: partial.text, model, usage, seconds: 0.0, truncated })
    }

    /// What an answer with an error status means.
    async fn refused(&self, mut response: Response, stop: &Stop, until: Instant) -> Attempt {
        let status = response.status();
        let headers = response.headers().clone();
        let mut body = Vec::new();
        loop {
            match self.wait(response.chunk(), stop, until).await {
                Waited::Done(Ok(Some(chunk))) if body.len() < ERROR_BYTES_MAX => body.extend_from_slice(&chunk),
                Waited::Stopped => return Attempt::Failed(AgentError::Stopped { spent: None }),
                // Whatever ended it, what there is has to do.
                _ => break,
            }
        }
        let mut message = self.clean(&said(&body));
        if status.is_redirection() {
            let to = headers.get("location").and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
            message = self.clean(&format!("it redirects to {to}, which is not followed"));
        }
        let host = self.host.clone();
        let code = status.as_u16();
        if may_pass(status, &headers, &body) {
            let error = AgentError::Busy { host, status: code, message, attempts: 1 };
            return Attempt::Again(error, retry_after(&headers, SystemTime::now()));
        }
        Attempt::Failed(AgentError::Refused { host, status: code, message })
    }

    fn fault(&self, fault: Fault, partial: &Partial, request: &Request) -> Attempt {
        match fault {
            Fault::Malformed(reason) => self.malformed(reason, partial, request),
            Fault::Said(_, message) if partial.begun => self.cut(&message, partial, request),
            Fault::Said(status, message) => {
                let (host, message) = (self.host.clone(), self.clean(&message));
                if status == 429 || status >= 500 {
                    return Attempt::Again(AgentError::Busy { host, status, message, attempts: 1 }, None);
                }
                Attempt::Failed(AgentError::Refused { host, status, message })
            }
        }
    }

    fn malformed(&self, reason: String, partial: &Partial, request: &Request) -> Attempt {
        Attempt::Failed(AgentError::Malformed {
            agent: self.host.clone(),
            reason: self.clean(&reason),
            check: "--agent is of the kind that --base-url serves",
            spent: partial.spent(request),
        })
    }

    fn cut(&self, reason: &str, partial: &Partial, request: &Request) -> Attempt {
        let (host, reason) = (self.host.clone(), self.clean(reason));
        Attempt::Failed(AgentError::Cut { host, reason, spent: partial.spent(request) })
    }

    fn too_large(&self, partial: &Partial, request: &Request) -> Attempt {
        let (agent, limit) = (self.host.clone(), self.limits.bytes);
        Attempt::Failed(AgentError::TooLarge { agent, limit, spent: partial.spent(request) })
    }

    fn stopped(&self, partial: &Partial, request: &Request) -> Attempt {
        Attempt::Failed(AgentError::Stopped { spent: partial.spent(request) })
    }

    fn late(&self, partial: &Partial, request: &Request, until: Instant) -> Attempt {
        let (what, limit) = if Instant::now() >= until {
            ("did not finish its answer within", self.limits.answer)
        } else {
            ("was silent for", self.limits.silence)
        };
        let (agent, spent) = (self.host.clone(), partial.spent(request));
        Attempt::Failed(AgentError::Timeout { agent, what, seconds: limit.as_secs(), spent })
    }

    /// Waits for `future` for as long as silence may last, up to `until`, or until Ctrl-C.
    async fn wait<F: Future>(&self, future: F, stop: &Stop, until: Instant) -> Waited<F::Output> {
        let mut future = pin!(future);
        let until = until.min(Instant::now() + self.limits.silence);
        loop {
            if stop.asked() {
                return Waited::Stopped;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Waited::Late;
            }
            if let Ok(output) = tokio::time::timeout(TICK.min(left), future.as_mut()).await {
                return Waited::Done(output);
            }
        }
    }

    /// An error of the HTTP library with its causes, without URL.
    fn reason(&self, error: &reqwest::Error) -> String {
        let mut parts: Vec<String> = Vec::new();
        let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
        while let Some(error) = cause {
            parts.push(error.to_string());
            cause = error.source();
        }
        if parts.is_empty() {
            parts.push(if error.is_timeout() { "it took too long".into() } else { "the request failed".into() });
        }
        parts.dedup();
        self.clean(&parts.join(": "))
    }

    /// A text from outside, fit for a message.
    fn clean(&self, text: &str) -> String {
        quoted(&self.target.key.as_ref().map_or_else(|| text.to_owned(), |key| key.removed_from(text)))
    }
}

impl<D: Dialect> Agent for Endpoint<D> {
    fn name(&self) -> &'static str {
        self.dialect.name()
    }

    fn model(&self) -> String {
        self.target.model.clone()
    }

    fn context_tokens(&self) -> u64 {
        self.target.context_tokens
    }

    fn ask(&mut self, request: &Request, watch: &mut dyn Watch, stop: &Stop) -> Result<Answer, AgentError> {
        let what = format!("{}: {}, tokens", self.target.model, request.title());
        watch.begin(&what, request.output_tokens_max);
        let answer = self.attempts(request, watch, stop);
        watch.end();
        answer
    }
}

/// Base and path as one URL, if a key may go there.
fn address(base: &str, path: &str, has_key: bool) -> Result<Url, AgentError> {
    let wrong = |reason: &str| AgentError::Options(format!("--base-url {reason}"));
    // A base without a host would take the first part of the path for one.
    let url = Url::parse(base)
        .and_then(|base| Url::parse(&format!("{}{path}", base.as_str().trim_end_matches('/'))))
        .map_err(|error| wrong(&format!("is no URL: {error}; it has to look like https://example.org/v1")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(wrong("has to begin with https:// or http:// and a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("has a name or password in it; put the key into the environment instead"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("has a `?` or `#`; give the part before it"));
    }
    if has_key && url.scheme() == "http" && !is_local(&url) {
        return Err(wrong("would send the key over an open line; use https, or --no-key if no key is needed there"));
    }
    Ok(url)
}

/// Whether a base URL is one of this machine.
pub(super) fn is_of_this_machine(base: &str) -> bool {
    Url::parse(base).is_ok_and(|url| is_local(&url))
}

fn is_local(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn shown(url: &Url) -> String {
    let port = url.port().map_or(String::new(), |port| format!(":{port}"));
    format!("{}{port}", url.host_str().unwrap_or_default())
}

fn client(url: &Url, ca_file: Option<&Path>, limits: &Limits) -> Result<Client, AgentError> {
    // Somebody else may have installed one; any will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .user_agent(concat!("lockstep/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(limits.connect)
        // A key goes where it was sent, and nowhere else.
        .redirect(reqwest::redirect::Policy::none());
    if is_local(url) {
        builder = builder.no_proxy();
    }
    if let Some(path) = ca_file {
        let unusable = |reason: String| AgentError::Options(format!("--ca-file {}: {reason}", path.display()));
        let pem = std::fs::read(path).map_err(|error| unusable(format!("{error}; name a file in PEM format")))?;
        let certificates = reqwest::Certificate::from_pem_bundle(&pem).unwrap_or_default();
        if certificates.is_empty() {
            return Err(unusable("it has no certificate in PEM format".into()));
        }
        builder = builder.tls_certs_merge(certificates);
    } else if url.scheme() == "http" {
        // Then no certificates are needed, and a machine may have none.
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|error| {
        let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        AgentError::Options(format!("no HTTPS here: {cause}; install ca-certificates, or name a --ca-file"))
    })
}

/// Whether an error status may pass by itself.
fn may_pass(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> bool {
    if headers.get("x-should-retry").is_some_and(|value| value == HeaderValue::from_static("false")) {
        return false;
    }
    // An account without money answers 429 too.
    let no_money = String::from_utf8_lossy(body).contains("insufficient_quota");
    status.is_server_error() || matches!(status.as_u16(), 408 | 409) || status.as_u16() == 429 && !no_money
}

/// The wait that `retry-after` asks for: seconds or a date; `retry-after-ms` where it is finer.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let seconds = |text: &str| text.parse::<f64>().ok().filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    if let Some(milliseconds) = text("retry-after-ms").and_then(seconds) {
        return Duration::try_from_secs_f64(milliseconds / 1e3).ok();
    }
    let value = text(RETRY_AFTER.as_str())?;
    if let Some(seconds) = seconds(value) {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    httpdate::parse_http_date(value).ok().map(|date| date.duration_since(now).unwrap_or_default())
}

/// The wait before the attempt after `attempt`: what the endpoint asks for and a little more, else a random part of a
/// time that doubles.
fn pause(first: Duration, attempt: u32, asked_for: Option<Duration>) -> Duration {
    let doubled = first.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(PAUSE_MAX);
    let random = f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX);
    match asked_for {
        Some(asked_for) => asked_for.saturating_add(first.min(PAUSE_MAX).mul_f64(random / 4.0)),
        None => doubled.mul_f64(0.5 + random / 2.0),
    }
}

/// Sleeps; true if Ctrl-C ended it.
fn sleep(pause: Duration, stop: &Stop) -> bool {
    let until = Instant::now() + pause;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if stop.asked() || left.is_zero() {
            return stop.asked();
        }
        std::thread::sleep(TICK.min(left));
    }
}

/// What the body of an error says.
fn said(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let Ok(reply) = serde_json::from_str::<Value>(&text) else {
        return if text.trim().is_empty() { "it gave no reason".into() } else { text.into_owned() };
    };
    let places = ["/error/message", "/message", "/error", "/detail"];
    let found = places.iter().find_map(|place| reply.pointer(place)?.as_str());
    found.map_or_else(|| reply.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn retry_after_is_read_as_seconds_milliseconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:00 GMT").expect("it is a date");
        let wait = |pairs: &[(&'static str, &str)]| retry_after(&headers(pairs), now);
        assert_eq!(wait(&[("retry-after", " 7 ")]), Some(Duration::from_secs(7)));
        assert_eq!(wait(&[("retry-after", "7"), ("retry-after-ms", "1500")]), Some(Duration::from_millis(1500)));
        assert_eq!(wait(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")]), Some(Duration::from_secs(37)));
        assert_eq!(wait(&[("retry-after", "Sun, 06 Nov 1994 08:48:37 GMT")]), Some(Duration::ZERO));
        for odd in ["", "-1", "NaN", "inf", "soon", "1e300"] {
            assert_eq!(wait(&[("retry-after", odd)]), None, "{odd}");
        }
    }

    #[test]
    fn a_pause_grows_has_jitter_and_is_never_shorter_than_what_the_endpoint_asks_for() {
        let first = Duration::from_secs(1);
        for attempt in 1..40 {
            let most = Duration::from_secs(1 << (attempt - 1).min(6)).min(PAUSE_MAX);
            let pause = pause(first, attempt, None);
            assert!(pause >= most / 2 && pause <= most, "{attempt}: {pause:?}");
        }
        let asked = Duration::from_secs(90);
        assert!((0..20).all(|_| pause(first, 1, Some(asked)) >= asked));
        let some: Vec<Duration> = (0..20).map(|_| pause(first, 5, None)).collect();
        assert!(some.iter().any(|pause| *pause != some[0]), "twenty pauses without jitter");
    }

    #[test]
    fn a_key_never_goes_over_an_open_line() {
        let path = "/v1/messages";
        for good in ["https://api.anthropic.com", "http://localhost:8080/", "http://127.0.0.1:1", "http://[::1]:1/x"] {
            assert!(address(good, path, true).is_ok(), "{good}");
        }
        let error = address("http://example.org", path, true).expect_err("it is an open line").to_string();
        assert!(error.contains("over an open line"), "{error}");
        assert!(address("http://example.org", path, false).is_ok());
        for bad in
            ["", "example.org", "ftp://example.org", "https://", "https://me:secret@example.org", "https://a/?b=c"]
        {
            let error = address(bad, path, true).expect_err(bad).to_string();
            assert!(error.starts_with("--base-url") && !error.contains("secret"), "{error}");
        }
    }
}
