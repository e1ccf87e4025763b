//! What a client asks for: judged, parsed, joined to its standing query, and set to load.

use super::Gateway;
use super::connection::Connection;
use super::load::{self, LeftOff, Start};
use super::messages::{self, ClientMessage, Refused, Subscribe, quoted};
use super::sessions;
use super::subscription::Terms;
use crate::auth::Session;
use crate::changelog::Position;
use crate::query;
use dataflows::query::{QueryError, QueryLimits};
use std::sync::Arc;

impl Gateway {
    /// A text frame of a client. The next one of the same client is taken when this resolves.
    pub(crate) async fn receive(self: &Arc<Self>, connection: &Arc<Connection>, text: &str) {
        match messages::parse(text) {
            Ok(ClientMessage::Unsubscribe { id }) => self.unsubscribe(connection, &id),
            Ok(ClientMessage::Subscribe(subscribe)) => {
                // A token that is nobody's makes an anonymous subscription, as everywhere (docs/users.md).
                let session = subscribe.token.as_deref().and_then(|token| self.authenticate.session(&connection.app.name, token));
                let session = session.unwrap_or_else(|| Session::anonymous(connection.address));
                self.subscribe(connection, *subscribe, &session).await;
            }
            Err(malformed) => {
                let id = malformed.id.as_deref().map(quoted);
                connection.reply(messages::error(id.as_deref(), &malformed.refused));
            }
        }
    }

    /// Starts a subscription, or answers with an error.
    async fn subscribe(self: &Arc<Self>, connection: &Arc<Connection>, subscribe: Subscribe, session: &Session) {
        let id = subscribe.id.clone();
        // One id, one subscription: a second one with the same id takes the place of the first.
        self.unsubscribe(connection, &id);
        if let Err(refused) = self.try_subscribe(connection, subscribe, session).await {
            connection.reply(messages::error(Some(&quoted(&id)), &refused));
        }
    }

    /// As [`Gateway::subscribe`], for one whose id is new; a refusal is the caller's to tell.
    pub(crate) async fn try_subscribe(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        subscribe: Subscribe,
        session: &Session,
    ) -> Result<(), Refused> {
        if subscribe.window {
            // Windows (sort, limit, offset) join a standing query with a state of its own here.
            return Err(Refused::new(
                468,
                "window-unsupported",
                "live queries with sort, limit or offset are not supported yet; subscribe without them and sort on the client",
            ));
        }
        let bucket: Arc<str> = subscribe.bucket.as_ref().into();
        self.admits(connection, &bucket, session)?;
        let limits = QueryLimits { bytes: self.options.query_bytes, ..QueryLimits::default() };
        // The app's own costly queries wait for each other, as its results do.
        let is_costly = query::is_costly(&subscribe.query);
        let turn = if is_costly { connection.app.quota.load().await } else { None };
        let filter = query::parse(&subscribe.query, &limits).await.map_err(|error| refused_query(&error))?;
        drop(turn);
        let now;
        let session = if is_costly {
            // Time has passed, also where nobody stood in line: the app or a right may have gone, or the address been banned.
            now = self.authenticate.again(&connection.app.name, session).ok_or_else(sessions::revoked)?;
            self.admits(connection, &bucket, &now)?;
            &now
        } else {
            session
        };
        // A position that cannot be read is one that cannot be resumed from: the client gets a fresh result.
        let start = match subscribe.position.as_deref().map(str::parse::<Position>) {
            None => Start::First,
            Some(Ok(position)) => Start::From(LeftOff {
                position,
                user: session.claims.as_ref().map(|claims| claims.user.clone()).or_else(|| session.user.clone()),
            }),
            Some(Err(_)) => Start::Afresh,
        };
        let engine = self.engine().ok_or_else(|| if self.is_stopping() { load::stopping() } else { load::stopped() })?;
        let terms = Terms {
            selection: subscribe.selection,
            initial: subscribe.initial,
            refreshes: subscribe.extensions || (subscribe.reconnects && subscribe.initial),
            extensions: subscribe.extensions,
        };
        let bytes = filter.weight();
        let query = connection.subscribed(bytes, self.options.subscription_bytes).ok_or_else(|| {
            let (limit, of_app) = (self.options.subscription_bytes, connection.app.quota.limits().subscription_bytes);
            let message = format!(
                "the query would take about {bytes} bytes of memory; those of a connection take at most {limit} together, and those of its app \
                 {of_app}: end some subscriptions, or ask with fewer operands and smaller regular expressions"
            );
            Refused::new(429, "subscriptions-too-large", message)
        })?;
        let subscription =
            connection.open(&subscribe.id, quoted(&subscribe.id), terms, session, query, self.options.subscriptions).ok_or_else(|| {
                let (limit, of_app) = (self.options.subscriptions, connection.app.quota.limits().subscriptions);
                let message = format!("a connection has at most {limit} subscriptions, and its app {of_app}; end some of them");
                Refused::new(429, "too-many-subscriptions", message)
            })?;
        self.registry.join(&engine, &connection.app.name, &bucket, filter, &subscription);
        if let Some(claims) = &session.claims {
            self.sessions.join(&subscription, claims);
            // Behind the registration: whoever revokes it from now on finds it there.
            if !self.authenticate.is_alive(&connection.app.name, session) {
                self.end(&subscription, &sessions::revoked());
                return Ok(());
            }
        }
        tokio::spawn(load::load(self.clone(), subscription, start));
        Ok(())
    }

    /// Whether app and connection are open and the class lets the caller ask.
    fn admits(&self, connection: &Connection, bucket: &str, session: &Session) -> Result<(), Refused> {
        if !connection.app.is_open() {
            return Err(app_deleted());
        }
        if connection.is_closed() {
            return Err(banned());
        }
        // As for the same query asked once (docs/query.md); each object's own list is judged on every way out.
        if !self.store.schema(&connection.app.name).rights(bucket).query.permits(&session.caller) {
            return Err(Refused::new(466, "class-denied", format!("query permissions are required on /db/{bucket}")));
        }
        Ok(())
    }

    /// Ends a subscription; one that is not there is ended already.
    pub(crate) fn unsubscribe(&self, connection: &Connection, id: &str) {
        if let Some(subscription) = connection.close_id(id) {
            self.leave(&subscription);
        }
    }
}

pub(crate) fn app_deleted() -> Refused {
    Refused::new(404, "app-deleted", "the app was deleted")
}

pub(crate) fn banned() -> Refused {
    Refused::new(429, "banned", "the address is banned by an administrator of the app")
}

/// As in docs/errors.md: 471 for what cannot be read, 468 for what is not supported.
fn refused_query(error: &QueryError) -> Refused {
    let status = if matches!(error, QueryError::Syntax { .. }) { 471 } else { 468 };
    Refused::new(status, error.code(), error.to_string())
}
