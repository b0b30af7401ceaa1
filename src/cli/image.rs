//! `--image-config FILE`: what an image says of its ports and environment.
//!
//! Read are the JSON of the OCI image specification (`config` with `ExposedPorts` and `Env`) and the document that `docker
//! inspect` or `podman inspect` prints of an image (`Config`, in a list). Everything else in them is somebody else's.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::network::ports::{ContainerPorts, SpecError};

/// What an image says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ImageConfig {
    /// The ports that it exposes.
    pub(super) exposed: Vec<ContainerPorts>,
    /// `NAME=VALUE`.
    pub(super) env: Vec<String>,
}

/// Why a file says nothing of an image.
#[derive(Debug, thiserror::Error)]
#[error("--image-config {}: {problem}", path.display())]
pub(super) struct ImageConfigError {
    path: PathBuf,
    problem: Problem,
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("{0}")]
    Unreadable(io::Error),
    #[error("more than {MOST} bytes are no image's config")]
    TooLong,
    #[error("no JSON: {0}")]
    NotJson(serde_json::Error),
    #[error("no image's config: there is no \"config\" in it, nor a \"Config\" as `docker inspect` has it")]
    NoConfig,
    #[error("it tells of several images; give it one")]
    Several,
    #[error("\"{0}\" is not what it should be; see the OCI image specification")]
    Strange(&'static str),
    #[error("ExposedPorts: {0}")]
    Port(SpecError),
}

impl ImageConfig {
    /// Reads the file at `path`.
    pub(super) fn read(path: &Path) -> Result<Self, ImageConfigError> {
        load(path).map_err(|problem| ImageConfigError {
            path: path.to_owned(),
            problem,
        })
    }

    /// The image's environment below `own`, as given with `-e`: of two with one name the latter stays.
    pub(super) fn env_below(&self, own: &[String]) -> Vec<String> {
        let named: BTreeSet<&str> = own.iter().map(|variable| name_of(variable)).collect();
        let below = self.env.iter().filter(|variable| !named.contains(name_of(variable)));
        below.chain(own).cloned().collect()
    }
}

fn name_of(variable: &str) -> &str {
    variable.split_once('=').map_or(variable, |(name, _)| name)
}

fn load(path: &Path) -> Result<ImageConfig, Problem> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MOST + 1).read_to_end(&mut bytes))
        .map_err(Problem::Unreadable)?;
    if bytes.len() as u64 > MOST {
        return Err(Problem::TooLong);
    }
    understand(&serde_json::from_slice(&bytes).map_err(Problem::NotJson)?)
}

fn understand(document: &Value) -> Result<ImageConfig, Problem> {
    let image = match document.as_array().map(Vec::as_slice) {
        None => document,
        Some([image]) => image,
        Some([]) => return Err(Problem::NoConfig),
        Some([..]) => return Err(Problem::Several),
    };
    let config = ["config", "Config"].iter().find_map(|key| image.get(key));
    let config = config.ok_or(Problem::NoConfig)?;
    if config.is_null() {
        return Ok(ImageConfig::default());
    }
    if !config.is_object() {
        return Err(Problem::Strange("config"));
    }
    Ok(ImageConfig {
        exposed: exposed(config.get("ExposedPorts"))?,
        env: env(config.get("Env"))?,
    })
}

fn exposed(ports: Option<&Value>) -> Result<Vec<ContainerPorts>, Problem> {
    let ports = match ports {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(ports)) => ports,
        Some(_) => return Err(Problem::Strange("ExposedPorts")),
    };
    // An image may serve what we do not carry; that is no reason not to run it.
    let carried = ports.keys().filter(|port| !port.ends_with("/sctp"));
    carried.map(|port| port.parse().map_err(Problem::Port)).collect()
}

fn env(variables: Option<&Value>) -> Result<Vec<String>, Problem> {
    let variables = match variables {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(variables)) => variables,
        Some(_) => return Err(Problem::Strange("Env")),
    };
    let text = |variable: &Value| {
        let text = variable.as_str().filter(|text| !text.contains('\0'));
        let named = text.filter(|text| text.find('=').is_some_and(|at| at > 0));
        named.map(str::to_owned).ok_or(Problem::Strange("Env"))
    };
    variables.iter().map(text).collect()
}

/// What registries take for a manifest: 4 MiB.
const MOST: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(config: &ImageConfig) -> (Vec<String>, Vec<&str>) {
        let exposed = config.exposed.iter().map(ToString::to_string).collect();
        (exposed, config.env.iter().map(String::as_str).collect())
    }

    #[test]
    fn both_forms_are_read() {
        let config = json!({
            "ExposedPorts": {"80/tcp": {}, "53/udp": {}, "8000-8009": {}, "9/sctp": {}},
            "Env": ["PATH=/bin", "A=b=c", "EMPTY="],
            "Cmd": ["sh"],
        });
        let oci = json!({"architecture": "amd64", "os": "linux", "config": config, "rootfs": {}});
        let docker = json!([{"Id": "sha256:0", "Config": config}]);
        for document in [&oci, &docker, &docker[0]] {
            let read = understand(document).unwrap();
            let (exposed, env) = shown(&read);
            assert_eq!(exposed, ["80/tcp", "53/udp", "8000-8009/tcp"]);
            assert_eq!(env, ["PATH=/bin", "A=b=c", "EMPTY="]);
        }
        for bare in [
            json!({"config": null}),
            json!({"config": {}}),
            json!({"config": {"ExposedPorts": null, "Env": null}}),
        ] {
            assert_eq!(understand(&bare).unwrap(), ImageConfig::default());
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (document, problem) in [
            (json!({}), "there is no \"config\" in it"),
            (json!([]), "there is no \"config\" in it"),
            (json!("config"), "there is no \"config\" in it"),
            (json!([{}, {}]), "several images"),
            (json!({"config": 7}), "\"config\" is not what it should be"),
            (
                json!({"config": {"ExposedPorts": ["80"]}}),
                "\"ExposedPorts\" is not what",
            ),
            (
                json!({"config": {"ExposedPorts": {"http": {}}}}),
                "ExposedPorts: 'http': 'http' is no port number",
            ),
            (json!({"config": {"Env": {"A": "b"}}}), "\"Env\" is not what"),
            (json!({"config": {"Env": [1]}}), "\"Env\" is not what"),
            (json!({"config": {"Env": ["=x"]}}), "\"Env\" is not what"),
            (json!({"config": {"Env": ["A=\0"]}}), "\"Env\" is not what"),
        ] {
            let error = understand(&document).unwrap_err().to_string();
            assert!(error.contains(problem), "{document}: {error}");
        }
    }

    #[test]
    fn what_is_said_stands_above_the_image() {
        let image = ImageConfig {
            env: ["A=1", "B=2", "C=3"].map(str::to_owned).into(),
            ..ImageConfig::default()
        };
        let own = ["B=b".to_owned(), "C".to_owned(), "D=".to_owned()];
        assert_eq!(image.env_below(&own), ["A=1", "B=b", "C", "D="]);
    }

    #[test]
    fn files_that_are_none() {
        let said = |path: &str| ImageConfig::read(Path::new(path)).unwrap_err().to_string();
        assert_eq!(
            said("/nowhere"),
            "--image-config /nowhere: No such file or directory (os error 2)"
        );
        assert!(said("/proc/self/comm").starts_with("--image-config /proc/self/comm: no JSON: "));
        assert_eq!(
            said("/dev/zero"),
            "--image-config /dev/zero: more than 4194304 bytes are no image's config"
        );
    }
}
