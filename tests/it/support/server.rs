//! Serves an endpoint over real HTTP on a free port of the loopback interface.

use poem::listener::{Acceptor, Listener, TcpListener};
use poem::{IntoEndpoint, Server};
use reqwest::Url;
use tokio::task::JoinHandle;

/// A server that stops when it is dropped.
pub(crate) struct TestServer {
    base_url: Url,
    task: JoinHandle<()>,
}

impl TestServer {
    /// Serves until dropped; it can be asked as soon as this returns.
    pub(crate) async fn start(endpoint: impl IntoEndpoint<Endpoint: 'static>) -> Self {
        let acceptor = TcpListener::bind("127.0.0.1:0")
            .into_acceptor()
            .await
            .unwrap();
        let addresses = acceptor.local_addr();
        let address = addresses[0].as_socket_addr().unwrap();
        let base_url = format!("http://{address}").parse().unwrap();
        let endpoint = endpoint.into_endpoint();
        let task = tokio::spawn(async move {
            Server::new_with_acceptor(acceptor)
                .run(endpoint)
                .await
                .unwrap();
        });
        Self { base_url, task }
    }

    /// Where it listens.
    pub(crate) fn base_url(&self) -> &Url {
        &self.base_url
    }

    /// The address of a path on it.
    pub(crate) fn url(&self, path: &str) -> Url {
        self.base_url.join(path).unwrap()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
