//! The backend `ptx`: the very PTX that a GPU's driver would get, executed on the CPU.
//!
//! It is linted before anything runs: what may give other bits on a GPU is refused, with its line.

use lockstep_core::bench::{Bencher, Contest, Timed};
use lockstep_core::device::{Device, DeviceRules, bencher, time};
use lockstep_core::{Files, Opened, Options};
use lockstep_ptx::{Checks, Grid, Memory, Program, Work, launch, lint, lower, parse};

/// An interpreter that has loaded some PTX.
pub struct Ptx {
    program: Program,
    memory: Memory,
    work: Work,
}

impl Ptx {
    /// Reads, lints and loads PTX.
    ///
    /// # Errors
    /// Names the first line that is not understood, or all that may give other bits on a GPU.
    pub fn open(text: &str) -> Result<Self, String> {
        let module = parse(text).map_err(|error| error.to_string())?;
        let findings: Vec<String> = lint(&module).iter().map(ToString::to_string).collect();
        if !findings.is_empty() {
            return Err(format!("the PTX may give other bits on a GPU:\n{}", findings.join("\n")));
        }
        let program = lower(&module).map_err(|error| error.to_string())?;
        let memory = Memory::new(&program);
        Ok(Ptx { program, memory, work: Work::default() })
    }

    /// What launches look for from now on, beyond what they always do.
    pub fn check(&mut self, checks: Checks) {
        self.memory.check(checks);
    }

    /// The work of all launches since the last call.
    pub fn take_work(&mut self) -> Work {
        std::mem::take(&mut self.work)
    }

    /// The backend of some rules.
    ///
    /// # Errors
    /// If the world can't be built or the PTX can't be loaded.
    pub fn backend<R: DeviceRules>(options: Options, files: &Files, lanes: usize) -> Result<Opened, String> {
        Opened::on_device::<R, Ptx>(options, files, lanes, Ptx::open)
    }

    /// The entry for `lockstep bench`.
    pub const fn bencher<R: DeviceRules>() -> Bencher {
        fn run<R: DeviceRules>(contest: Contest) -> Result<Timed, String> {
            time::<R, Ptx>(contest, Ptx::open)
        }
        bencher("ptx", run::<R>)
    }
}

impl Device for Ptx {
    fn name(&self) -> String {
        "PTX, interpreted".into()
    }

    fn allocate(&mut self, name: &str, bytes: usize, zeroed: bool) -> Result<u64, String> {
        Ok(if zeroed { self.memory.allocate_zeroed(name, bytes) } else { self.memory.allocate(name, bytes) })
    }

    fn release(&mut self, address: u64) -> Result<(), String> {
        self.memory.release(address).map_err(|fault| fault.to_string())
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), String> {
        self.memory.write(address, bytes).map_err(|fault| fault.to_string())
    }

    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), String> {
        self.memory.read(address, bytes).map_err(|fault| fault.to_string())
    }

    fn read_apart(&mut self, address: u64, stride: usize, count: usize, bytes: &mut [u8]) -> Result<(), String> {
        self.memory.read_apart(address, stride, count, bytes).map_err(|fault| fault.to_string())
    }

    fn write_apart(&mut self, address: u64, stride: usize, count: usize, bytes: &[u8]) -> Result<(), String> {
        self.memory.write_apart(address, stride, count, bytes).map_err(|fault| fault.to_string())
    }

    fn launch(&mut self, kernel: &str, count: usize, block: u32, parameters: &[u8]) -> Result<(), String> {
        let grid = Grid::of(count, block);
        let work =
            launch(&self.program, &mut self.memory, kernel, grid, parameters).map_err(|fault| fault.to_string())?;
        self.work.add(&work);
        Ok(())
    }
}
