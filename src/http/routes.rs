//! What stands at which path, and the sentence where nothing does.

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS,
    },
};
use serde_json::Value;

use super::{Plan, Reload, Site, page, scrape::Scrapes};
use crate::sink::{escape::json_line, history::History};

/// The site with what its routes share.
pub(super) struct Server {
    scrapes: Scrapes,
    history: History,
    reload: Option<Reload>,
    plan: Option<Plan>,
}

/// An answer before it is one of hyper's.
struct Answer {
    status: StatusCode,
    r#type: &'static str,
    body: Bytes,
}

const PLAN: &str = "/api/v1/plan";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";

impl Server {
    pub(super) fn new(site: Site) -> Self {
        Self {
            scrapes: Scrapes::new(site.metrics),
            history: site.history,
            reload: site.reload,
            plan: site.plan,
        }
    }

    /// Answers one request; hyper leaves the body of a HEAD's answer away.
    pub(super) async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let wants_post = path == "/-/reload";
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let answer = match (wants_post, request.method() == Method::POST) {
            (true, true) => self.reload(request).await,
            (false, _) if reads => self.read(path).await,
            _ if wants_post => wrong_method("POST"),
            // Not asked for only to see whether it is there: that reads files.
            _ if path == PLAN => wrong_method("GET"),
            _ if self.read(path).await.status == StatusCode::NOT_FOUND => not_found(),
            _ => wrong_method("GET"),
        };
        answer.finish(if wants_post { "POST" } else { "GET, HEAD" })
    }

    async fn read(&self, path: &str) -> Answer {
        match path {
            "/metrics" => Answer { status: StatusCode::OK, r#type: METRICS, body: self.scrapes.text().await },
            "/-/healthy" => self.healthy(),
            "/-/ready" => self.ready(),
            "/api/v1/jobs" => json(&self.history.jobs()),
            PLAN => self.plan().await,
            "/api/v1/status" => json(&self.history.status()),
            "/" => Answer { status: StatusCode::OK, r#type: HTML, body: page::render(&self.history).into() },
            _ => self.runs(path).unwrap_or_else(not_found),
        }
    }

    /// `/api/v1/jobs/NAME/runs`; names have no character that needs an escape in an address.
    fn runs(&self, path: &str) -> Option<Answer> {
        let name = path.strip_prefix("/api/v1/jobs/")?.strip_suffix("/runs")?;
        self.history.runs(name).map(|runs| json(&runs))
    }

    fn healthy(&self) -> Answer {
        let stale = self.history.stale();
        if stale.is_empty() {
            return text(StatusCode::OK, "healthy");
        }
        text(
            StatusCode::SERVICE_UNAVAILABLE,
            &format!("stale, no start though one is due: {}", stale.join(", ")),
        )
    }

    fn ready(&self) -> Answer {
        let waiting = self.history.not_ready();
        if !self.history.is_running() {
            text(StatusCode::SERVICE_UNAVAILABLE, "not ready: the runner is starting or stopping")
        } else if waiting.is_empty() {
            text(StatusCode::OK, "ready")
        } else {
            text(StatusCode::SERVICE_UNAVAILABLE, &format!("not ready: {}", waiting.join(", ")))
        }
    }

    async fn plan(&self) -> Answer {
        let Some(plan) = &self.plan else {
            return text(StatusCode::NOT_FOUND, "the built-in demo has no files");
        };
        match plan().await {
            Ok(changes) => json(&changes),
            Err(said) => text(StatusCode::SERVICE_UNAVAILABLE, &said),
        }
    }

    async fn reload(&self, request: &Request<Incoming>) -> Answer {
        let Some(reload) = &self.reload else {
            return text(
                StatusCode::FORBIDDEN,
                "reloading over HTTP is off: start with --web.enable-lifecycle",
            );
        };
        if is_of_another_site(request) {
            return text(StatusCode::FORBIDDEN, "a page of another site may not reload the runner");
        }
        match reload().await {
            Ok(said) => text(StatusCode::OK, &said),
            Err(said) => text(StatusCode::INTERNAL_SERVER_ERROR, said.trim_end()),
        }
    }
}

/// A browser says where the page stands whose script sends a request; tools say nothing.
fn is_of_another_site(request: &Request<Incoming>) -> bool {
    let site = request.headers().get("sec-fetch-site");
    site.is_some_and(|site| site != "same-origin" && site != "none")
}

impl Answer {
    fn finish(self, allowed: &'static str) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.r#type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        response
    }
}

fn text(status: StatusCode, sentence: &str) -> Answer {
    Answer { status, r#type: TEXT, body: format!("{sentence}\n").into() }
}

fn json(value: &Value) -> Answer {
    Answer { status: StatusCode::OK, r#type: JSON, body: format!("{}\n", json_line(value)).into() }
}

fn not_found() -> Answer {
    text(
        StatusCode::NOT_FOUND,
        "nothing here: try /, /metrics, /-/healthy, /-/ready, /api/v1/status, /api/v1/plan, /api/v1/jobs or /api/v1/jobs/NAME/runs",
    )
}

fn wrong_method(wanted: &str) -> Answer {
    text(StatusCode::METHOD_NOT_ALLOWED, &format!("this path takes {wanted}"))
}
