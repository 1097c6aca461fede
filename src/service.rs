//! Runs the parts of a process, its roles, until it is told to stop.
//!
//! Start: bind, connect, migrate, serve. Stop (the first signal): take no new request, job or
//! tick, finish what runs, give back what was not started, within the time of the settings. A
//! second signal ends the process at once.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use poem::endpoint::BoxEndpoint;
use poem::listener::{Acceptor, Listener as _, TcpAcceptor, TcpListener};
use poem::{Endpoint, EndpointExt, Route, Server};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::admin::{self, LogStream};
use crate::app::{App, StartError};
use crate::config::{Listener, Settings};
use crate::health::health;
use crate::http::limits::Limits;
use crate::http::shell::Shell;
use crate::keys;
use crate::marketplace::api::MarketplaceApi;
use crate::marketplace::mock_api::MockMarketplaceApi;
use crate::metrics;
use crate::webhooks::api::WebhooksApi;
use crate::webhooks::callbacks_api::CallbacksApi;
use crate::worker;

/// Connections that say nothing are closed after this.
const IDLE_CONNECTION: Duration = Duration::from_secs(75);

/// A part of the service that a process may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Both listeners.
    Api,
    /// Jobs.
    Worker,
    /// Ticks.
    Scheduler,
}

/// The parts that one process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles(HashSet<Role>);

impl Roles {
    /// Everything in one process.
    pub fn all() -> Self {
        Self([Role::Api, Role::Worker, Role::Scheduler].into())
    }

    fn has(&self, role: Role) -> bool {
        self.0.contains(&role)
    }
}

impl FromStr for Roles {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let role = |name: &str| match name.trim() {
            "api" => Ok(Role::Api),
            "worker" => Ok(Role::Worker),
            "scheduler" => Ok(Role::Scheduler),
            other => Err(format!(
                "`{other}` is not a role; roles are api, worker, scheduler"
            )),
        };
        text.split(',')
            .map(role)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// A service that runs.
pub struct Service {
    /// What its handlers work with.
    pub app: Arc<App>,
    /// Where its API is, if it has one.
    pub public: Option<SocketAddr>,
    /// Where its board is, if it has one.
    pub admin: Option<SocketAddr>,
    /// Where its metrics are, if they have a listener of their own.
    pub metrics: Option<SocketAddr>,
    logs: LogStream,
    stop: CancellationToken,
    parts: JoinSet<()>,
}

impl Service {
    /// Starts the parts of `roles`; when this returns, the listeners answer.
    pub async fn start(settings: Settings, roles: &Roles, logs: LogStream) -> Result<Self> {
        let listeners = if roles.has(Role::Api) {
            let public = bind(&settings.public, "").await?;
            Some((public, bind(&settings.admin, "ADMIN_").await?))
        } else {
            None
        };
        let (public, admin) = match &listeners {
            Some((public, admin)) => (Some(address_of(public)?), Some(address_of(admin)?)),
            None => (None, None),
        };
        let metrics = match &settings.metrics {
            Some(listener) => Some(bind(listener, "METRICS_").await?),
            None => None,
        };
        let metrics_address = metrics.as_ref().map(address_of).transpose()?;
        let app = Arc::new(App::connect(settings, public).await?);
        let mut service = Self {
            stop: app.stop.clone(),
            app,
            public,
            admin,
            metrics: metrics_address,
            logs: logs.clone(),
            parts: JoinSet::new(),
        };
        if let Some((public, admin)) = listeners {
            let checked = keys::check_start(&service.app).await;
            let checked = checked.map_err(|error| StartError::Db(error.into()))?;
            checked.map_err(StartError::NoKey)?;
            let site = site(&service.app);
            service.serve(public, site);
            let password = service.app.settings.admin_password.clone();
            let pages = Route::new()
                .at("/metrics", metrics::endpoint(&service.app))
                .nest("/admin", admin::operators::routes(&service.app));
            let board = admin::with_pages(pages, &service.app.queue, logs, password);
            service.serve(admin, board);
        }
        if let Some(listener) = metrics {
            let pages = metrics::pages(&service.app, health(&service.app));
            service.serve(listener, pages);
        }
        if roles.has(Role::Worker) {
            service
                .parts
                .spawn(worker::run_jobs(service.app.clone(), service.stop.clone()));
        }
        if roles.has(Role::Scheduler) {
            service
                .parts
                .spawn(worker::run_ticks(service.app.clone(), service.stop.clone()));
        }
        service.announce();
        Ok(service)
    }

    fn serve(&mut self, acceptor: TcpAcceptor, endpoint: impl Endpoint + 'static) {
        let stop = self.stop.clone();
        let patience = self.app.settings.shutdown_timeout;
        self.parts.spawn(async move {
            let server = Server::new_with_acceptor(acceptor).idle_timeout(IDLE_CONNECTION);
            let stopped = stop.cancelled_owned();
            if let Err(error) = server
                .run_with_graceful_shutdown(endpoint, stopped, Some(patience))
                .await
            {
                error!(event = "listener_failed", %error, "a listener ended");
            }
        });
    }

    fn announce(&self) {
        if self.app.settings.encryption.is_empty() {
            warn!(
                event = "unencrypted_secrets",
                "`TOKEN_ENCRYPTION_KEY` is not set: secrets are stored as plain text"
            );
        }
        if let Some(public) = self.public {
            info!(event = "listening", listener = "public", address = %public, "the API is at http://{public}/docs");
        }
        if let Some(admin) = self.admin {
            info!(event = "listening", listener = "admin", address = %admin, "the board is at http://{admin}/");
        }
        if let Some(metrics) = self.metrics {
            info!(event = "listening", listener = "metrics", address = %metrics, "metrics are at http://{metrics}/metrics");
        }
        info!(
            event = "started",
            profile = if self.app.settings.is_server_profile() {
                "server"
            } else {
                "embedded"
            },
            version = env!("CARGO_PKG_VERSION"),
            "marketplace-sync is ready"
        );
    }

    /// Runs until a signal comes, then stops. A part that ends before is a failure of all.
    pub async fn run_until_signal(mut self) -> Result<()> {
        let is_told = tokio::select! {
            () = signal() => true,
            Some(_) = self.parts.join_next() => false,
        };
        self.stop().await;
        if is_told {
            Ok(())
        } else {
            bail!("a part of the service ended; the log says which")
        }
    }

    /// Stops, within the time of the settings.
    pub async fn stop(mut self) {
        info!(
            event = "stopping",
            "finishing what runs; a second signal ends it at once"
        );
        self.stop.cancel();
        self.logs.close();
        let app = self.app.clone();
        let finish = async {
            while self.parts.join_next().await.is_some() {}
            app.tasks.close();
            app.tasks.wait().await;
            app.db.close().await;
        };
        let patience = app.settings.shutdown_timeout;
        tokio::select! {
            () = finish => info!(event = "stopped", "stopped"),
            () = sleep(patience) => {
                warn!(event = "stopped", "stopped before everything was finished; it will be picked up");
            }
            () = signal() => warn!(event = "stopped", "stopped at once"),
        }
    }
}

/// The API of all domains.
pub fn site(app: &Arc<App>) -> BoxEndpoint<'static> {
    let (ids, watched) = (app.clone(), app.clone());
    let access = keys::access(app);
    let shell = Shell {
        new_id: Arc::new(move || ids.ids.new_id(ids.clock.now())),
        access: access.clone(),
        limits: Limits::default(),
        observer: Some(Arc::new(move |served| watched.metrics.http_request(served))),
    };
    let api = (
        MarketplaceApi::new(app.clone()),
        WebhooksApi::new(app.clone()),
        CallbacksApi::new(app.clone()),
        health(app),
    );
    let document = crate::openapi::document(&access, app.settings.mock.enabled);
    if !app.settings.mock.enabled {
        return crate::http::site(api, &document, shell).boxed();
    }
    let mock = MockMarketplaceApi::new(app.settings.mock.credentials.clone(), app.clock.clone());
    crate::http::site((api.0, api.1, api.2, api.3, mock), &document, shell).boxed()
}

/// Listens where the settings `{prefix}HOST` and `{prefix}PORT` say.
async fn bind(listener: &Listener, prefix: &str) -> Result<TcpAcceptor> {
    let address = listener
        .address()
        .map_err(|error| StartError::Host(format!("`{prefix}HOST`: {error}")))?;
    TcpListener::bind(address)
        .into_acceptor()
        .await
        .map_err(|error| anyhow!("cannot listen on {address}: {error} (see `{prefix}PORT`)"))
}

fn address_of(acceptor: &TcpAcceptor) -> Result<SocketAddr> {
    let addresses = acceptor.local_addr();
    let address = addresses
        .first()
        .and_then(|address| address.as_socket_addr());
    address.copied().context("a TCP listener has an address")
}

/// Waits for SIGTERM or SIGINT.
pub(crate) async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        // Without handlers the default action ends the process anyway.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
