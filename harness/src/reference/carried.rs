//! The SDKs that the program carries, for environments outside a clone: written once into the cache folder.

use super::PrepareError;
use super::prepare::cache_folder;
use crate::unpack::unpack;
use std::path::{Path, PathBuf};

macro_rules! file {
    ($path:literal) => {
        ($path, include_bytes!(concat!("../../../references/sdk/", $path)))
    };
}

/// Every file of `references/sdk` that an adapter needs: path below it, and contents.
const FILES: &[(&str, &[u8])] = &[
    file!("c/lockstep.h"),
    file!("c/own.h"),
    file!("node/lockstep-sdk/assembler.mjs"),
    file!("node/lockstep-sdk/bare.mjs"),
    file!("node/lockstep-sdk/bytes.mjs"),
    file!("node/lockstep-sdk/digest.mjs"),
    file!("node/lockstep-sdk/draws.mjs"),
    file!("node/lockstep-sdk/errors.mjs"),
    file!("node/lockstep-sdk/index.d.mts"),
    file!("node/lockstep-sdk/index.mjs"),
    file!("node/lockstep-sdk/lane.mjs"),
    file!("node/lockstep-sdk/own.mjs"),
    file!("node/lockstep-sdk/package.json"),
    file!("node/lockstep-sdk/propose.mjs"),
    file!("node/lockstep-sdk/schema.mjs"),
    file!("node/lockstep-sdk/serve.mjs"),
    file!("node/lockstep-sdk/snapshot.mjs"),
    file!("node/lockstep-sdk/tokens.mjs"),
    file!("node/lockstep-sdk/wire.mjs"),
    file!("node/typescript/commonjs.json"),
    file!("node/typescript/package-lock.json"),
    file!("node/typescript/package.json"),
    file!("node/typescript/tsconfig.json"),
    file!("python/accel/_lockstep_accel.c"),
    file!("python/accel/build.py"),
    file!("python/lockstep_sdk/__init__.py"),
    file!("python/lockstep_sdk/accel.py"),
    file!("python/lockstep_sdk/actions.py"),
    file!("python/lockstep_sdk/bare.py"),
    file!("python/lockstep_sdk/chance.py"),
    file!("python/lockstep_sdk/digest.py"),
    file!("python/lockstep_sdk/draws.py"),
    file!("python/lockstep_sdk/errors.py"),
    file!("python/lockstep_sdk/explain.py"),
    file!("python/lockstep_sdk/fields.py"),
    file!("python/lockstep_sdk/gym.py"),
    file!("python/lockstep_sdk/lane.py"),
    file!("python/lockstep_sdk/propose.py"),
    file!("python/lockstep_sdk/scan.py"),
    file!("python/lockstep_sdk/schema.py"),
    file!("python/lockstep_sdk/seen.py"),
    file!("python/lockstep_sdk/serve.py"),
    file!("python/lockstep_sdk/snapshot.py"),
    file!("python/lockstep_sdk/tokens.py"),
    file!("python/lockstep_sdk/wire.py"),
];

/// The folder with the SDKs: that of the clone where there is one, else the one in the cache, written if need be.
///
/// # Errors
/// If the cache folder can't be written.
pub fn sdk_folder(clone: &Path) -> Result<PathBuf, PrepareError> {
    if clone.is_dir() {
        return Ok(clone.to_owned());
    }
    unpack("sdk", FILES).map_err(|source| PrepareError::Cache { path: cache_folder(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_program_carries_every_file_of_the_sdks() {
        let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../references/sdk");
        let mut there = BTreeSet::new();
        for part in ["c", "node/lockstep-sdk", "node/typescript", "python/accel", "python/lockstep_sdk"] {
            for path in super::super::files_below(&sdk.join(part)).expect("it is there") {
                let path = path.strip_prefix(&sdk).expect("below").to_string_lossy().into_owned();
                if !path.contains("node_modules") && !path.ends_with(".so") {
                    there.insert(path);
                }
            }
        }
        let carried: BTreeSet<String> = FILES.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(carried, there, "carried.rs lists other files than references/sdk holds");
    }

    #[test]
    fn a_clone_s_own_sdk_comes_first() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        assert_eq!(sdk_folder(folder.path()).expect("it is there"), folder.path());
    }
}
