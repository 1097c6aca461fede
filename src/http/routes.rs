//! Which paths there are and which methods they have: for `Allow`, `OPTIONS` and the `route` of
//! logs and metrics.
//!
//! poem's router knows this too, but tells only those it could serve; a panic, a time-out and a
//! 405 need a route as well.

use poem::http::Method;
use poem_openapi::OpenApi;

/// The paths of a listener.
#[derive(Debug, Default)]
pub struct Routes(Vec<Entry>);

/// One path.
#[derive(Debug)]
pub(super) struct Entry {
    /// As in the API document: `/webhooks/{id}`.
    pub(super) template: String,
    methods: Vec<Method>,
}

impl Routes {
    /// The documented paths of an API.
    pub fn of_api<T: OpenApi>() -> Self {
        T::meta()
            .into_iter()
            .flat_map(|api| api.paths)
            .flat_map(|path| {
                let template = path.path;
                let methods = path.operations.into_iter();
                methods.map(move |operation| (template.clone(), operation.method))
            })
            .fold(Self::default(), |routes, (template, method)| {
                routes.with(&template, method)
            })
    }

    /// Adds a method of a path.
    #[must_use]
    pub fn with(mut self, template: &str, method: Method) -> Self {
        match self.0.iter_mut().find(|entry| entry.template == template) {
            Some(entry) => entry.methods.push(method),
            None => self.0.push(Entry {
                template: template.to_owned(),
                methods: vec![method],
            }),
        }
        self
    }

    /// The entry of a path; a literal segment wins over a parameter.
    pub(super) fn find(&self, path: &str) -> Option<&Entry> {
        self.0
            .iter()
            .filter_map(|entry| Some((entry.parameters_to_match(path)?, entry)))
            .min_by_key(|(parameters, _)| *parameters)
            .map(|(_, entry)| entry)
    }
}

impl Entry {
    /// The value of `Allow`.
    pub(super) fn allow(&self) -> String {
        let mut methods: Vec<&str> = self.methods.iter().map(Method::as_str).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        methods.push("OPTIONS");
        methods.sort_unstable();
        methods.dedup();
        methods.join(", ")
    }

    /// How many parameters it takes to make this template that path; `None` when it cannot be.
    fn parameters_to_match(&self, path: &str) -> Option<usize> {
        let mut given = path.split('/');
        let mut parameters = 0;
        for wanted in self.template.split('/') {
            let segment = given.next()?;
            if wanted.starts_with('{') && !segment.is_empty() {
                parameters += 1;
            } else if wanted != segment {
                return None;
            }
        }
        given.next().is_none().then_some(parameters)
    }
}

#[cfg(test)]
mod tests {
    use poem::http::Method;

    use super::Routes;

    #[test]
    fn a_literal_segment_wins_and_a_parameter_is_never_empty() {
        let routes = Routes::default()
            .with("/webhooks/{id}", Method::DELETE)
            .with("/webhooks/register", Method::POST)
            .with("/webhooks", Method::GET);
        let template = |path| routes.find(path).map(|entry| entry.template.as_str());
        assert_eq!(template("/webhooks/register"), Some("/webhooks/register"));
        assert_eq!(template("/webhooks/7"), Some("/webhooks/{id}"));
        assert_eq!(template("/webhooks"), Some("/webhooks"));
        assert_eq!(template("/webhooks/"), None);
        assert_eq!(template("/webhooks/7/8"), None);
        assert_eq!(
            routes.find("/webhooks").unwrap().allow(),
            "GET, HEAD, OPTIONS"
        );
    }
}
