//! Files without namespaces: Landlock lets through what the program needs, and nothing else.

use super::Purpose;
use super::enter::Cell;
use super::namespaces::{SYSTEM_FILES, SYSTEM_FOLDERS};
use landlock::{
    ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
    path_beneath_rules,
};

/// Closes this process in; it can't be undone.
pub fn close(cell: &Cell) -> Result<(), String> {
    // What a kernel does not know is left out; the probe then says what does not hold.
    let abi = ABI::V6;
    let devices: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];
    let processes: &[&str] = if cell.purpose == Purpose::Build { &["/proc"] } else { &[] };
    let system = SYSTEM_FOLDERS.iter().chain(SYSTEM_FILES).chain(processes);
    let writable = || cell.binds.iter().filter(|bind| bind.writable).map(|bind| &bind.outside);
    let status = (|| {
        Ruleset::default()
            .handle_access(AccessFs::from_all(abi))?
            .handle_access(AccessNet::from_all(abi))?
            .scope(Scope::from_all(abi))?
            .create()?
            .add_rules(path_beneath_rules(system, AccessFs::from_read(abi)))?
            .add_rules(path_beneath_rules(devices, AccessFs::ReadFile | AccessFs::WriteFile))?
            .add_rules(path_beneath_rules(cell.binds.iter().map(|bind| &bind.outside), AccessFs::from_read(abi)))?
            .add_rules(path_beneath_rules(writable(), AccessFs::from_all(abi)))?
            .restrict_self()
    })()
    .map_err(|error: landlock::RulesetError| error.to_string())?;
    if status.ruleset == RulesetStatus::NotEnforced {
        return Err("this kernel has no Landlock".into());
    }
    Ok(())
}
