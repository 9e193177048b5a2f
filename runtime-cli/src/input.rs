//! Files that the command line names.

use std::io::Read;
use std::path::Path;

use runtime_core::{Error, Result, bundle};
use serde::de::DeserializeOwned;

/// Reads JSON from the file at `path`, or from standard input if that is `-`. As everywhere in configurations
/// `null` counts as nothing said. (Reading it as optional also shares the code of the fields that are.)
pub fn json<T: DeserializeOwned + Default>(path: &Path) -> Result<T> {
    Ok(bundle::parse::<Option<T>>(path, &content(path)?)?.unwrap_or_default())
}

fn content(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = match path.as_os_str().as_encoded_bytes() {
        b"-" => std::io::stdin().lock().read_to_end(&mut bytes),
        _ => std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)),
    };
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => Err(Error::sys("read", error.raw_os_error().unwrap_or(libc::EIO)).operand(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime_core::spec::{Memory, Resources};

    #[test]
    fn resources_as_callers_send_them() {
        let path = std::env::temp_dir().join(format!("oci-rt-resources-{}", std::process::id()));
        std::fs::write(&path, "{\"memory\": {\"limit\": 5}, \"pids\": null}\n").unwrap();
        let memory = Memory {
            limit: Some(5),
            ..Memory::default()
        };
        let expected = Resources {
            memory: Some(memory),
            ..Resources::default()
        };
        assert_eq!(json::<Resources>(&path).unwrap(), expected);
        std::fs::write(&path, "{").unwrap();
        assert!(
            json::<Resources>(&path)
                .unwrap_err()
                .to_string()
                .contains("line 1")
        );
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            json::<Resources>(&path).unwrap_err().raw_os_error(),
            Some(libc::ENOENT)
        );
    }
}
