//! How many requests are at work at the same time, and whose.
//!
//! More would not be done sooner: each would wait for the database, or for a marketplace, until
//! its client has given up. Who comes when there is no place waits a moment and is then told to
//! come again (503), which costs next to nothing. Places are shared fairly ([`crate::places`]) by
//! organizations, however many keys and stores they have, so that nobody's flood, or nobody's slow
//! marketplace, keeps others out.
//!
//! A request takes its place when it is known what opens it, before anything is looked up for it.
//! Whose a key or a token is was learned from an earlier request ([`Organizations`]); what is not
//! known yet counts for the address it comes from. What needs neither (probes of the health, the
//! pages, the mock marketplace) needs no place.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use poem::{FromRequest, Request, RequestBody};
use prometheus_client::metrics::counter::Counter;

use super::client::Network;
use super::problem::Problem;
use super::rates::Credential;
use crate::places::{Figures, Place, Places};

/// The longest that a request waits for its place: a client would rather hear that it is not its
/// turn than wonder.
const PATIENCE: Duration = Duration::from_secs(1);
/// So many credentials are remembered; then it begins anew.
const MAX_KNOWN: usize = 65_536;

tokio::task_local! {
    static ENTRANCE: Entrance;
}

/// Whose place it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Guest {
    /// By the hash of its name.
    Organization(u64),
    Network(Network),
    /// Whoever does not come over the internet protocol.
    Nobody,
}

/// What is watched of requests and their places.
#[derive(Clone, Debug, Default)]
pub struct AdmissionFigures {
    /// Places, taken and waited for.
    pub places: Figures,
    /// Requests that were told to come again.
    pub refused: Counter,
}

/// Whose credentials are, as far as was seen. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Organizations(Arc<(RwLock<HashMap<Credential, u64>>, RandomState)>);

impl Organizations {
    /// A credential acts for an organization.
    pub fn learn(&self, credential: Credential, organization_id: &str) {
        if self.of(credential).is_some() {
            return;
        }
        let organization = self.0.1.hash_one(organization_id);
        let mut known = self.0.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(credential, organization);
    }

    fn of(&self, credential: Credential) -> Option<u64> {
        let known = self.0.0.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&credential).copied()
    }
}

/// The places of one listener. Clones share them.
#[derive(Clone, Debug)]
pub struct Admission {
    places: Option<Places<Guest>>,
    refused: Counter,
    organizations: Organizations,
}

impl Admission {
    /// So many requests at the same time.
    pub fn new(most: usize, figures: AdmissionFigures, organizations: Organizations) -> Self {
        Self {
            places: Some(Places::new(most, PATIENCE, figures.places)),
            refused: figures.refused,
            organizations,
        }
    }

    /// As many as there are.
    pub fn unlimited() -> Self {
        Self {
            places: None,
            refused: Counter::default(),
            organizations: Organizations::default(),
        }
    }

    /// The way in for one request; to be attached to it.
    pub(super) fn entrance(&self, network: Option<Network>) -> Entrance {
        Entrance(Arc::new(Door {
            admission: self.clone(),
            network,
            place: OnceLock::new(),
        }))
    }
}

/// The way in for one request. Its place is free again when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Entrance(Arc<Door>);

#[derive(Debug)]
struct Door {
    admission: Admission,
    network: Option<Network>,
    place: OnceLock<Place<Guest>>,
}

impl Entrance {
    /// Takes as many places as the request weighs, unless it has some; 503 when there is none soon.
    pub async fn enter(
        &self,
        credential: Option<Credential>,
        weight: usize,
    ) -> Result<(), Problem> {
        let Door {
            admission,
            network,
            place,
        } = &*self.0;
        let Some(places) = &admission.places else {
            return Ok(());
        };
        if place.get().is_some() {
            return Ok(());
        }
        let known = credential.and_then(|credential| admission.organizations.of(credential));
        let guest = match (known, network) {
            (Some(organization), _) => Guest::Organization(organization),
            (None, Some(network)) => Guest::Network(*network),
            (None, None) => Guest::Nobody,
        };
        let taken = places.take(guest, weight).await.map_err(|_| {
            admission.refused.inc();
            Problem::overloaded()
        })?;
        // One request enters once.
        place.set(taken).ok();
        Ok(())
    }

    /// A credential acts for an organization: the next request with it has that one's place.
    pub(super) fn learn(&self, credential: Credential, organization_id: &str) {
        let organizations = &self.0.admission.organizations;
        organizations.learn(credential, organization_id);
    }

    /// Runs what belongs to the request; see [`carried`].
    pub async fn scope<F: Future>(&self, work: F) -> F::Output {
        ENTRANCE.scope(self.clone(), work).await
    }
}

/// Work that goes on when its client goes away: it keeps the place of its request. Otherwise
/// whoever sends requests and leaves would have as many at work as they like.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let entrance = ENTRANCE.try_with(Clone::clone).ok();
    async move {
        let _entrance = entrance;
        work.await
    }
}

impl<'a> FromRequest<'a> for Entrance {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> poem::Result<Self> {
        let entrance = request.data::<Self>().cloned();
        Ok(entrance.unwrap_or_else(|| Admission::unlimited().entrance(None)))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn network(last: u8) -> Network {
        IpAddr::from(Ipv4Addr::new(192, 0, 2, last)).into()
    }

    #[tokio::test]
    async fn the_keys_of_an_organization_share_and_what_nobody_knows_counts_for_its_address() {
        let figures = AdmissionFigures::default();
        let admission = Admission::new(8, figures.clone(), Organizations::default());
        let [one, other, unknown] = [1, 2, 3].map(|byte| Credential::Key([byte; 32]));
        for key in [one, other] {
            admission.organizations.learn(key, "org-1");
        }
        let enter = async |key, address| {
            let entrance = admission.entrance(Some(network(address)));
            let entered = entrance.enter(Some(key), 1);
            let entered = futures::FutureExt::now_or_never(entered);
            entered
                .is_some_and(|entered| entered.is_ok())
                .then_some(entrance)
        };
        let mut held = Vec::new();
        for key in [one, other, one, other] {
            held.push(enter(key, 1).await.unwrap());
        }
        assert!(enter(one, 2).await.is_none(), "from wherever it comes");
        held.push(enter(unknown, 1).await.unwrap());
        held.push(enter(unknown, 1).await.unwrap());
        assert!(enter(unknown, 1).await.is_none());
        held.push(enter(unknown, 2).await.unwrap());
        assert_eq!(figures.places.taken.get(), 7);
        held[0].enter(Some(one), 1).await.unwrap();
        assert_eq!(figures.places.taken.get(), 7, "a request enters once");
        held.clear();
        assert_eq!(figures.places.taken.get(), 0);
    }

    #[test]
    fn what_is_known_of_credentials_is_bounded() {
        let organizations = Organizations::default();
        for number in 0..=MAX_KNOWN as u128 {
            let token = Credential::Token(uuid::Uuid::from_u128(number));
            organizations.learn(token, "org-1");
        }
        let known = organizations.0.0.read().unwrap().len();
        assert_eq!(known, 1, "it began anew");
    }
}
