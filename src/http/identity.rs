//! Who asks: from the token of a request to a session, and renewal of the token on the way out.
//!
//! A token travels in `Authorization: BAT <token>`. `GET /connect` and `GET /file/…` also take `?BAT=`, which is no token but opens
//! this one path (docs/users.md). One that is not valid is nobody's, never an error. Renewal: only a successful answer to a
//! request with the header, of a token that is two seconds old, never on connect or logout.

use super::error::{self, ApiError};
use super::{Front, banned};
use crate::apps::App;
use crate::auth::Session;
use crate::auth::token::Claims;
use crate::store::Actor;
use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequestParts, OriginalUri, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, header, request::Parts};
use axum::middleware::Next;
use axum::response::IntoResponse;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Carries a new token to the client.
pub const TOKEN: HeaderName = HeaderName::from_static("baqend-authorization-token");

/// Who asks.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The app that he asks of
    pub app: Arc<App>,
    /// Whose rights, and what belongs together
    pub session: Session,
    /// What his token says; none for anonymous callers
    pub claims: Option<Arc<Claims>>,
    /// Where from
    pub address: IpAddr,
}

/// The path at which connections are opened that outlive their request.
const LIVE: &str = "/events";

/// Put into an answer's extensions: it must carry no renewed token.
#[derive(Debug, Clone, Copy)]
pub struct NoRenewal;

impl Identity {
    fn of(front: &Front, app: Arc<App>, claims: Option<Claims>, address: IpAddr) -> Identity {
        match claims {
            Some(claims) => {
                Identity { session: front.authority.session_of(&app.name, &claims), claims: Some(Arc::new(claims)), address, app }
            }
            None => Identity { session: Session::anonymous(address), claims: None, address, app },
        }
    }
}

impl Identity {
    /// The same app and address, with a token that did not come in the header.
    pub(super) fn with_token(&self, front: &Front, token: Option<&str>) -> Identity {
        let claims = token.and_then(|token| front.authority.claims(&self.app.name, token));
        Identity::of(front, self.app.clone(), claims, self.address)
    }

    /// Whether an administrator asks who has logged in as himself. Who has assumed a role, even that of administrators, gives no
    /// user a new password without the old one: such a token is made to be handed on.
    pub fn is_administrator(&self) -> bool {
        self.session.user.is_some() && self.session.caller.is_admin()
    }

    /// Whose rights a write of his is judged by, inside the store's transaction.
    pub fn actor(&self) -> Actor {
        match (&self.session.user, self.claims.as_ref().and_then(|claims| claims.assumed().map(|role| (&claims.user, role)))) {
            (Some(user), _) => Actor::User(user.clone()),
            (None, Some((user, role))) => Actor::Assumed { user: user.clone(), role: role.clone() },
            (None, None) => Actor::Fixed(self.session.caller.clone()),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Identity {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Identity, ApiError> {
        let missing = || ApiError::new(error::CRASHED, "nobody found out who asks; please report it");
        parts.extensions.get::<Identity>().cloned().ok_or_else(missing)
    }
}

fn address(info: Option<&ConnectInfo<SocketAddr>>) -> IpAddr {
    info.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip())
}

fn header_token(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("BAT ").map(str::trim)
}

/// What the query says instead of the header, where it may, and the whole path, over which it is signed as it was sent.
/// `connect`: whether `GET <base>/connect` is such a place, which brings a whole token back.
fn signed_path(request: &Request<Body>, connect: bool) -> Option<(&str, &str)> {
    // The base is off this path already, so no object of any name is meant.
    let path = request.uri().path();
    let signable = path.starts_with("/file/") || (connect && path == "/connect");
    if !signable || request.method() != axum::http::Method::GET {
        return None;
    }
    let signed = request.uri().query()?.split('&').find_map(|pair| pair.strip_prefix("BAT="))?;
    Some((request.extensions().get::<OriginalUri>()?.path(), signed))
}

/// The host and port that a request was sent to: in HTTP/2 they stand in the URI.
pub fn host<'r>(uri: &'r Uri, headers: &'r HeaderMap) -> Option<&'r str> {
    let named = || headers.get(header::HOST).and_then(|host| host.to_str().ok());
    uri.authority().map(|authority| authority.as_str()).or_else(named)
}

/// Finds out which app a request is for; there is nothing for an app that there is not.
pub async fn enter(State(front): State<Arc<Front>>, mut request: Request<Body>, next: Next) -> Response<Body> {
    let uri = request.extensions().get::<OriginalUri>().map_or_else(|| request.uri(), |original| &original.0);
    let word = uri.path().split('/').nth(1).unwrap_or_default();
    match front.apps.resolve(host(uri, request.headers()), word) {
        // One that is being deleted waits for this request, or has closed before it.
        Some(app) if let Some(_under_way) = app.begin() => {
            let address = address(request.extensions().get());
            if let Err(banned) = banned::admit(&front, &app.name, request.method(), request.uri().path(), address) {
                return banned.into_response();
            }
            let opens = request.uri().path() == LIVE;
            request.extensions_mut().insert(app.clone());
            let response = next.run(request).await;
            match opens.then(|| banned::admit_again(&front, &app.name, address)) {
                Some(Err(banned)) => banned.into_response(),
                _ => response,
            }
        }
        _ => ApiError::plain(error::NO_SUCH_PAGE).into_response(),
    }
}

/// Finds out who asks, and renews his token on the way out.
pub async fn establish(State(front): State<Arc<Front>>, mut request: Request<Body>, next: Next) -> Response<Body> {
    let app = request.extensions().get::<Arc<App>>().unwrap_or(front.apps.default_app()).clone();
    let from_header = header_token(request.headers());
    let claims = match from_header {
        Some(token) => front.authority.claims(&app.name, token),
        None => signed_path(&request, front.options.signed_connect)
            .and_then(|(path, signed)| front.authority.claims_of_path(&app.name, path, signed)),
    };
    let identity = Identity::of(&front, app.clone(), claims, address(request.extensions().get()));
    let renewable = from_header.is_some().then(|| identity.claims.clone()).flatten();
    request.extensions_mut().insert(identity);
    let mut response = next.run(request).await;
    let welcome = response.status().as_u16() < 400 && response.extensions().get::<NoRenewal>().is_none();
    if welcome
        && !response.headers().contains_key(TOKEN)
        && let Some((claims, token)) = renewable.and_then(|claims| front.authority.renew(&app.name, &claims))
    {
        front.sessions.renewed(&claims);
        set_token(&mut response, &token);
    }
    response
}

/// Puts a token into an answer, which is the caller's alone from then on.
pub fn set_token(response: &mut Response<Body>, token: &str) {
    if let Ok(value) = HeaderValue::from_str(token) {
        response.headers_mut().insert(TOKEN, value);
        private(response);
    }
}

/// No cache may keep this answer.
pub fn private(response: &mut Response<Body>) {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
}
