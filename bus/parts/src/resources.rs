//! The files that a sidecar is started with.

use std::fmt::Write;
use std::path::Path;

/// A pub/sub component.
#[derive(Debug, Clone)]
pub struct PubSub {
    name: String,
    kind: String,
    metadata: Vec<(String, String)>,
    retries: u32,
}

impl PubSub {
    /// Of this type, with these settings.
    #[must_use]
    pub fn new(name: &str, kind: &str, metadata: &[(&str, &str)]) -> Self {
        let metadata =
            metadata.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { name: name.to_owned(), kind: kind.to_owned(), metadata, retries: 0 }
    }

    /// How often the sidecar tries a delivery again by itself before it leaves that to the broker. A try takes up one of
    /// its places for deliveries, so that a few events that wait for an earlier one would keep that one out.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// With another setting, or another value for it.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.metadata.retain(|(other, _)| other != name);
        self.metadata.push((name.to_owned(), value.to_owned()));
        self
    }

    fn yaml(&self) -> String {
        let Self { name, kind, metadata, .. } = self;
        let mut text = format!(
            "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{ name: {name} }}\n\
             spec:\n  type: {kind}\n  version: v1\n  metadata:\n"
        );
        for (name, value) in metadata {
            writeln!(text, "  - {{ name: {name}, value: \"{value}\" }}").expect("a string");
        }
        text
    }

    /// Gives up a delivery that is not answered.
    fn resiliency(&self) -> String {
        let Self { name, retries, .. } = self;
        let (policy, use_it) = match retries {
            0 => (String::new(), ""),
            most => {
                let policy = format!(
                    "    retries: {{ inbound: {{ policy: constant, duration: 300ms, maxRetries: {most} }} }}\n"
                );
                (policy, ", retry: inbound")
            }
        };
        format!(
            "apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata: {{ name: {name}-resiliency }}\n\
             spec:\n  policies:\n    timeouts: {{ handler: 10s }}\n{policy}\
             \x20 targets:\n    components:\n      {name}:\n        inbound: {{ timeout: handler{use_it} }}\n"
        )
    }
}

/// The files of a sidecar's resources directory.
#[derive(Debug, Clone, Default)]
pub struct Resources {
    files: Vec<(String, String)>,
}

impl Resources {
    /// A component, and how deliveries from it are tried again.
    #[must_use]
    pub fn pubsub(self, component: &PubSub) -> Self {
        let name = component.name.clone();
        self.file(&format!("{name}.yaml"), &component.yaml())
            .file(&format!("{name}-resiliency.yaml"), &component.resiliency())
    }

    /// Any other file.
    #[must_use]
    pub fn file(mut self, name: &str, content: &str) -> Self {
        self.files.push((name.to_owned(), content.to_owned()));
        self
    }

    /// Writes them into a directory, which is made if need be.
    pub fn write(&self, dir: &Path) {
        std::fs::create_dir_all(dir).expect("a directory");
        for (name, content) in &self.files {
            std::fs::write(dir.join(name), content).expect("a file");
        }
    }
}
