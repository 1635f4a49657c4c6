//! Where the network runs: CUDA or Metal when the program was built for it and one is there,
//! otherwise the CPU. A missing GPU never stops the program.

use std::str::FromStr;

use candle_core::Device;

/// What a person asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The best there is.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The first CUDA device.
    Cuda,
    /// The first Metal device.
    Metal,
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
            "metal" => Ok(Self::Metal),
            other => Err(format!(
                "'{other}' is no device; expected auto, cpu, cuda or metal"
            )),
        }
    }
}

/// A device that is ready, and why it is not the one that was asked for.
#[derive(Debug, Clone)]
pub struct OpenDevice {
    /// The device.
    pub device: Device,
    /// Name for a person: `CPU, 2 threads`.
    pub name: String,
    /// Why another device was asked for in vain.
    pub note: Option<String>,
}

impl DeviceChoice {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Metal => "metal",
        }
    }

    /// Opens the device; the CPU with a note where that fails.
    pub fn open(self) -> OpenDevice {
        let tried: &[Self] = match self {
            Self::Auto => &[Self::Cuda, Self::Metal],
            Self::Cpu => &[],
            Self::Cuda => &[Self::Cuda],
            Self::Metal => &[Self::Metal],
        };
        let mut note = None;
        for choice in tried {
            match choice.open_gpu() {
                Ok((device, name)) => {
                    return OpenDevice {
                        device,
                        name,
                        note: None,
                    };
                }
                Err(why) if self != Self::Auto => note = Some(format!("{why}; the CPU is used")),
                Err(_) => {}
            }
        }
        OpenDevice {
            device: Device::Cpu,
            name: format!("CPU, {} threads", rayon::current_num_threads()),
            note,
        }
    }

    fn open_gpu(self) -> Result<(Device, String), String> {
        let (name, built, device) = match self {
            Self::Metal => (
                "Metal",
                cfg!(feature = "metal"),
                Device::new_metal as fn(usize) -> _,
            ),
            _ => (
                "CUDA",
                cfg!(feature = "cuda"),
                Device::new_cuda as fn(usize) -> _,
            ),
        };
        if !built {
            return Err(format!("this program was built without {name}"));
        }
        match device(0) {
            Ok(device) => Ok((device, format!("{name} device 0"))),
            Err(error) => Err(format!("no {name} device could be opened ({error})")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_gpu_means_the_cpu_with_a_note() {
        for choice in [DeviceChoice::Cuda, DeviceChoice::Metal] {
            let open = choice.open();
            if open.device.is_cpu() {
                assert!(open.note.is_some_and(|n| n.contains("the CPU is used")));
            }
        }
        assert!(DeviceChoice::Cpu.open().note.is_none());
        assert!("gpu".parse::<DeviceChoice>().is_err());
    }
}
