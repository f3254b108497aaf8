//! [`Router`]: finds the handler of a request by method and path.

use std::{fmt, future, pin::Pin, sync::Arc};

use http::{HeaderValue, Method, StatusCode, header};

use super::{Request, Response, form, response};

/// A future that a handler returns.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A handler, shared by all requests for its route.
type Handler = Arc<dyn Fn(Request) -> BoxFuture<Response> + Send + Sync>;

/// A check that comes before the handlers; it answers the request itself or lets it pass.
type Guard = Arc<dyn Fn(&Request) -> Option<Response> + Send + Sync>;

/// Routes of one part of the server, to be mounted by `server`.
///
/// An exact path goes before a prefix, a longer prefix before a shorter one. Paths are compared as sent, without decoding.
/// `HEAD` is answered by the handler for `GET`; the connection leaves the body out.
#[derive(Clone, Default)]
pub struct Router {
    routes: Vec<Route>,
    fallback: Option<Handler>,
}

#[derive(Clone)]
struct Route {
    method: Method,
    path: Path,
    handler: Handler,
    guards: Vec<Guard>,
}

/// Which paths a route is for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Path {
    Exact(String),
    /// Everything that starts with this and goes on.
    Below(String),
}

impl Router {
    /// Creates a router without routes, which finds nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a route for one path.
    #[must_use]
    pub fn route<F>(self, method: Method, path: &str, handler: impl Fn(Request) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        self.add(method, Path::Exact(path.to_owned()), handler)
    }

    /// Adds a route for every path that starts with `prefix` and goes on; the handler reads [`Request::rest`].
    #[must_use]
    pub fn below<F>(self, method: Method, prefix: &str, handler: impl Fn(Request) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        self.add(method, Path::Below(prefix.to_owned()), handler)
    }

    /// Adds a route for `GET` and `HEAD` of one path.
    #[must_use]
    pub fn get<F>(self, path: &str, handler: impl Fn(Request) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        self.route(Method::GET, path, handler)
    }

    /// Adds a route for `POST` to one path.
    #[must_use]
    pub fn post<F>(self, path: &str, handler: impl Fn(Request) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        self.route(Method::POST, path, handler)
    }

    /// Gives every request for which there is no route to this handler, whatever its method, instead of answering 404 or
    /// 405. A second one takes the place of the first.
    #[must_use]
    pub fn fallback<F>(mut self, handler: impl Fn(Request) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        self.fallback = Some(Arc::new(move |request| Box::pin(handler(request))));
        self
    }

    /// Puts a check before every route added so far; `Some` is the answer, `None` lets the request pass.
    ///
    /// A check added later runs earlier. Answers 404 and 405, and those of a fallback, are given without any.
    #[must_use]
    pub fn guarded(mut self, guard: impl Fn(&Request) -> Option<Response> + Send + Sync + 'static) -> Self {
        let guard: Guard = Arc::new(guard);
        for route in &mut self.routes {
            route.guards.insert(0, Arc::clone(&guard));
        }
        self
    }

    /// Adds the routes of `other`, which come after those here, as does its fallback.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.routes.extend(other.routes);
        self.fallback = self.fallback.or(other.fallback);
        self
    }

    /// Returns whether any route, of whatever method, is for this path.
    #[must_use]
    pub fn knows(&self, path: &str) -> bool {
        self.routes.iter().any(|route| route.path.rest(path).is_some())
    }

    /// Answers a request with its handler, or with 404 or 405.
    #[must_use]
    pub fn handle(&self, request: Request) -> BoxFuture<Response> {
        match self.find(&request) {
            Ok((route, rest)) => match route.guards.iter().find_map(|guard| guard(&request)) {
                Some(refusal) => Box::pin(future::ready(refusal)),
                None => (route.handler)(request.with_rest(rest)),
            },
            Err(refusal) => match (&self.fallback, refusal.status()) {
                (Some(fallback), StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) => fallback(request),
                _ => Box::pin(future::ready(*refusal)),
            },
        }
    }

    fn add<F>(mut self, method: Method, path: Path, handler: impl Fn(Request) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |request| Box::pin(handler(request)));
        self.routes.push(Route { method, path, handler, guards: Vec::new() });
        self
    }

    /// Finds the route for a request, and what follows its prefix.
    fn find(&self, request: &Request) -> Result<(&Route, String), Box<Response>> {
        let path = request.path();
        let matching = self.routes.iter().filter(|route| route.path.rest(path).is_some());
        let Some(best) = matching.clone().map(|route| route.path.rank()).max() else {
            return Err(Box::new(response::text(StatusCode::NOT_FOUND, "not found")));
        };
        let candidates = matching.filter(|route| route.path.rank() == best);
        let asked = if *request.method() == Method::HEAD { &Method::GET } else { request.method() };
        // A route for HEAD itself, if there is one, goes before that for GET.
        let exact = candidates.clone().find(|route| route.method == *request.method());
        let Some(route) = exact.or_else(|| candidates.clone().find(|route| route.method == *asked)) else {
            return Err(Box::new(not_allowed(candidates.map(|route| &route.method))));
        };
        match form::percent_decode(route.path.rest(path).unwrap_or_default()) {
            Ok(rest) => Ok((route, rest.into_owned())),
            Err(error) => Err(Box::new(response::text(StatusCode::BAD_REQUEST, error.to_string()))),
        }
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let routes: Vec<_> = self.routes.iter().map(|route| (&route.method, &route.path)).collect();
        f.debug_struct("Router").field("routes", &routes).field("has_fallback", &self.fallback.is_some()).finish()
    }
}

impl Path {
    /// Returns what follows the prefix if `path` matches; empty for an exact path.
    fn rest<'a>(&self, path: &'a str) -> Option<&'a str> {
        match self {
            Self::Exact(exact) => (exact == path).then_some(""),
            Self::Below(prefix) => path.strip_prefix(prefix.as_str()).filter(|rest| !rest.is_empty()),
        }
    }

    /// Orders paths that match the same request: the more of it they name, the higher.
    fn rank(&self) -> (bool, usize) {
        match self {
            Self::Exact(exact) => (true, exact.len()),
            Self::Below(prefix) => (false, prefix.len()),
        }
    }
}

/// Answers 405 and names the methods that there are.
fn not_allowed<'a>(methods: impl Iterator<Item = &'a Method>) -> Response {
    let mut allow: Vec<&str> = methods.map(Method::as_str).collect();
    if allow.contains(&"GET") {
        allow.push("HEAD");
    }
    allow.sort_unstable();
    allow.dedup();
    let mut response = response::text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
    if let Ok(value) = HeaderValue::from_str(&allow.join(", ")) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::{super::request::tests::request, *};

    async fn answer(router: &Router, method: &str, uri: &str) -> (u16, String) {
        let response = router.handle(request(method, uri, &[])).await;
        (response.status().as_u16(), String::from_utf8(response.body().bytes().to_vec()).unwrap())
    }

    fn say(word: &'static str) -> impl Fn(Request) -> future::Ready<Response> {
        move |request| future::ready(response::text(StatusCode::OK, format!("{word} {}", request.rest())))
    }

    fn router() -> Router {
        Router::new()
            .below(Method::GET, "/admin/", say("short"))
            .below(Method::GET, "/admin/sessions/", say("session"))
            .below(Method::DELETE, "/admin/sessions/", say("delete"))
            .get("/admin/sessions", say("sessions"))
            .post("/admin/publish", say("publish"))
    }

    #[tokio::test]
    async fn the_most_exact_route_answers() {
        let router = router();
        assert_eq!(answer(&router, "GET", "/admin/sessions?x=1").await, (200, "sessions ".into()));
        assert_eq!(answer(&router, "GET", "/admin/sessions/a%2Fb").await, (200, "session a/b".into()));
        assert_eq!(answer(&router, "DELETE", "/admin/sessions/ab").await, (200, "delete ab".into()));
        assert_eq!(answer(&router, "GET", "/admin/sessions/").await, (200, "short sessions/".into()));
        assert_eq!(answer(&router, "HEAD", "/admin/sessions").await.0, 200);
        assert!(router.knows("/admin/publish") && !router.knows("/admin/"));
    }

    #[tokio::test]
    async fn what_is_not_there_is_said_briefly() {
        let router = router();
        assert_eq!(answer(&router, "GET", "/").await, (404, "not found".into()));
        assert_eq!(answer(&router, "GET", "/admin/sessions/%ff").await.0, 400);
        let response = router.handle(request("PUT", "/admin/sessions/a", &[])).await;
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()["allow"], "DELETE, GET, HEAD");
        let response = router.handle(request("GET", "/admin/publish", &[])).await;
        assert_eq!(response.headers()["allow"], "POST");
    }

    #[tokio::test]
    async fn a_fallback_gets_what_no_route_is_for() {
        let router = router().merge(Router::new().fallback(say("other")));
        assert_eq!(answer(&router, "GET", "/").await, (200, "other ".into()));
        assert_eq!(answer(&router, "PUT", "/admin/sessions/a").await, (200, "other ".into()));
        assert_eq!(answer(&router, "GET", "/admin/sessions").await, (200, "sessions ".into()));
        assert_eq!(answer(&router, "GET", "/admin/sessions/%ff").await.0, 400);
        assert!(!router.knows("/"));
        let router = Router::new().fallback(say("first")).merge(router);
        assert_eq!(answer(&router, "GET", "/").await, (200, "first ".into()));
    }

    #[tokio::test]
    async fn a_guard_stands_before_the_routes_it_was_put_on() {
        let token = |request: &Request| {
            let refusal = || response::text(StatusCode::UNAUTHORIZED, "token needed");
            request.header("authorization").is_none().then(refusal)
        };
        let router = router().guarded(token).merge(Router::new().get("/health/live", say("live")));
        assert_eq!(answer(&router, "GET", "/admin/sessions").await.0, 401);
        assert_eq!(answer(&router, "GET", "/health/live").await.0, 200);
        let response = router.handle(request("GET", "/admin/sessions", &["authorization: Bearer x"])).await;
        assert_eq!(response.status(), 200);
    }
}
