//! Runs the parts of a process, its roles, until it is told to stop.
//!
//! Start: bind and answer (503, and that the process lives), connect, migrate, serve. A database or
//! a queue that is not there yet is waited for. Stop (the first signal): take no new request, job or
//! tick, finish what runs, give back what was not started, within the time of the settings. A
//! second signal ends the process at once.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Result, bail};
use poem::endpoint::BoxEndpoint;
use poem::{EndpointExt, Route};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::admin::{self, LogStream, Login};
use crate::app::{App, Patience, StartError};
use crate::config::Settings;
use crate::db::DbError;
use crate::front::{Front, Listening};
use crate::health::health;
use crate::http::admission::Admission;
use crate::http::limits::Limits;
use crate::http::shell::Shell;
use crate::keys;
use crate::marketplace::api::MarketplaceApi;
use crate::marketplace::mock_api::MockMarketplaceApi;
use crate::metrics;
use crate::stock::catalog_api::CatalogApi;
use crate::stock::pushes_api::PushesApi;
use crate::stock::queue_api::StockQueueApi;
use crate::stock::reservations_api::ReservationsApi;
use crate::stock::warehouses_api::WarehousesApi;
use crate::webhooks::api::WebhooksApi;
use crate::webhooks::callbacks_api::CallbacksApi;
use crate::worker;

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

    pub(crate) fn has(&self, role: Role) -> bool {
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
    /// Starts the parts of `roles`; when this returns, the service answers.
    pub async fn start(settings: Settings, roles: &Roles, logs: LogStream) -> Result<Self> {
        Self::begin(settings, roles, logs, Patience::None).await
    }

    /// The same, but waits for a database or a queue that is not there yet, for ever; the
    /// listeners say so meanwhile.
    pub async fn start_in_time(settings: Settings, roles: &Roles, logs: LogStream) -> Result<Self> {
        Self::begin(settings, roles, logs, Patience::Endless).await
    }

    async fn begin(
        settings: Settings,
        roles: &Roles,
        logs: LogStream,
        patience: Patience,
    ) -> Result<Self> {
        let front = Front::open(&settings, roles).await?;
        let mut app = App::connect_with(patience, settings, front.public_address()).await?;
        app.stop = front.stop;
        let app = Arc::new(app);
        let mut service = Self {
            stop: app.stop.clone(),
            app: app.clone(),
            public: front.public.as_ref().map(Listening::address),
            admin: front.admin.as_ref().map(Listening::address),
            metrics: front.metrics.as_ref().map(Listening::address),
            logs: logs.clone(),
            parts: front.parts,
        };
        if let Some(public) = front.public {
            let checked = patience
                .wait_for("database", async || {
                    keys::check_start(&app).await.map_err(DbError::from)
                })
                .await?;
            checked.map_err(StartError::NoKey)?;
            public.open(site(&app));
        }
        if let Some(admin) = front.admin {
            let settings = &app.settings;
            let proxies = settings.rates.proxies.clone();
            let login = Login::new(settings.admin_password.as_ref(), proxies, &app.clock);
            let pages = Route::new()
                .at("/metrics", metrics::endpoint(&app))
                .nest("/admin", admin::operators::routes(&app));
            let board = admin::with_login(pages, &app.queue, logs, login);
            admin.open(board.map_to_response().boxed());
        }
        if let Some(listener) = front.metrics {
            listener.open(metrics::pages(&app, health(&app)).map_to_response().boxed());
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

    fn announce(&self) {
        if self.app.settings.encryption.is_empty() {
            warn!(
                event = "unencrypted_secrets",
                "`TOKEN_ENCRYPTION_KEY` is not set: secrets are stored as plain text"
            );
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

    /// Runs until a signal comes, then stops.
    pub async fn run_until_signal(self) -> Result<()> {
        self.run_until(signal()).await
    }

    /// Runs until it is told, then stops. A part that ends before is a failure of all.
    pub async fn run_until(mut self, told: impl Future<Output = ()>) -> Result<()> {
        let is_told = tokio::select! {
            () = told => true,
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
        // From before it is told that a second one is looked for.
        let again = signal();
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
            app.traces.close().await;
            app.db.close().await;
        };
        let patience = app.settings.shutdown_timeout;
        tokio::select! {
            () = finish => info!(event = "stopped", "stopped"),
            () = sleep(patience) => {
                warn!(event = "stopped", "stopped before everything was finished; it will be picked up");
            }
            () = again => warn!(event = "stopped", "stopped at once"),
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
        rates: app.rates.clone(),
        admission: Admission::new(
            app.settings.max_requests,
            app.metrics.admission.clone(),
            app.organizations.clone(),
        ),
        limits: Limits::default(),
        observer: Some(Arc::new(move |served| watched.metrics.http_request(served))),
        traces: app.traces.clone(),
    };
    let stock = (
        CatalogApi::new(app.clone()),
        WarehousesApi::new(app.clone()),
        ReservationsApi::new(app.clone()),
        StockQueueApi::new(app.clone()),
        PushesApi::new(app.clone()),
    );
    let api = (
        MarketplaceApi::new(app.clone()),
        WebhooksApi::new(app.clone()),
        CallbacksApi::new(app.clone()),
        health(app),
        stock,
    );
    let document = crate::openapi::document(&access, app.settings.mock.enabled);
    if !app.settings.mock.enabled {
        return crate::http::site(api, &document, shell).boxed();
    }
    let mock = MockMarketplaceApi::new(app.settings.mock.credentials.clone(), app.clock.clone());
    crate::http::site((api, mock), &document, shell).boxed()
}

/// Waits for a SIGTERM or SIGINT that comes from now on, even before this is polled.
pub(crate) fn signal() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    );
    async move {
        let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
            // Without handlers the default action ends the process anyway.
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}
