//! What the installed FFmpeg can do, in the shape of datarhei Core: its version, codecs, formats, filters, protocols,
//! devices. Asked of the program itself, once; anew when somebody wants it so.

mod read;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::ask::{Said, ask};

/// The oldest FFmpeg that processes run with: what its arguments and its log are is known from there on.
const OLDEST: u32 = 4;

/// For one question: it is answered in a tenth of a second, on a busy machine in a few.
const PATIENCE: Duration = Duration::from_secs(10);

/// What FFmpeg can do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Skills {
    /// The program.
    pub ffmpeg: Build,
    /// Its filters.
    pub filter: Vec<Named>,
    /// Its ways to use other hardware than the CPU.
    pub hwaccels: Vec<Named>,
    /// Its codecs.
    pub codecs: Codecs,
    /// Its devices.
    pub devices: Devices,
    /// Its containers.
    pub formats: Formats,
    /// Its protocols.
    pub protocols: Protocols,
}

/// The program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SkillsBuild)]
pub struct Build {
    /// As in `5.1.9`; of a build that is no release, its own word.
    pub version: String,
    /// What compiled it.
    pub compiler: String,
    /// How it was configured.
    pub configuration: String,
    /// Its libraries.
    pub libraries: Vec<Library>,
}

/// A library of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SkillsLibrary)]
pub struct Library {
    /// As in `libavcodec`.
    pub name: String,
    /// The version that it was compiled with.
    pub compiled: String,
    /// The version that it runs with.
    pub linked: String,
}

/// Something with a name for programs, and one for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SkillsNamed)]
pub struct Named {
    /// What options call it.
    pub id: String,
    /// What it is.
    pub name: String,
}

/// A codec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SkillsCodec)]
pub struct Codec {
    /// What FFmpeg calls it.
    pub id: String,
    /// What it is.
    pub name: String,
    /// What can encode it.
    pub encoders: Vec<String>,
    /// What can decode it.
    pub decoders: Vec<String>,
}

/// Codecs, by what they are of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SkillsCodecs)]
pub struct Codecs {
    /// Of audio.
    pub audio: Vec<Codec>,
    /// Of video.
    pub video: Vec<Codec>,
    /// Of subtitles.
    pub subtitle: Vec<Codec>,
}

/// A kind of device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SkillsDevice)]
pub struct Device {
    /// What FFmpeg calls it.
    pub id: String,
    /// What it is.
    pub name: String,
    /// Always empty: which there are on the machine is not looked for.
    #[schema(value_type = Vec<Object>)]
    pub devices: [(); 0],
}

/// Kinds of devices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SkillsDevices)]
pub struct Devices {
    /// That can be read.
    pub demuxers: Vec<Device>,
    /// That can be written.
    pub muxers: Vec<Device>,
}

/// Containers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SkillsFormats)]
pub struct Formats {
    /// That can be read.
    pub demuxers: Vec<Named>,
    /// That can be written.
    pub muxers: Vec<Named>,
}

/// Protocols.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SkillsProtocols)]
pub struct Protocols {
    /// That can be read.
    pub input: Vec<Named>,
    /// That can be written.
    pub output: Vec<Named>,
}

/// The program, and what is known of it.
pub(super) struct Tool {
    program: PathBuf,
    known: Mutex<Option<Arc<Skills>>>,
    /// Its version, which is known before all else.
    version: Mutex<Option<String>>,
    /// Held while it is asked.
    asking: tokio::sync::Mutex<()>,
}

impl Tool {
    pub(super) fn new(program: PathBuf) -> Self {
        Self { program, known: Mutex::default(), version: Mutex::default(), asking: tokio::sync::Mutex::default() }
    }

    fn known(&self) -> Option<Arc<Skills>> {
        locked(&self.known).clone()
    }

    /// Asks for its version, unless that is known. Of a program that says none nothing is known: what is wrong with it is
    /// seen when it is started.
    pub(super) async fn get_ready(&self) {
        if locked(&self.version).is_some() {
            return;
        }
        let Ok(said) = ask(&self.program, vec!["-version".to_owned()], Path::new("/"), PATIENCE).await else { return };
        let version = read::build(&said.stdout).version;
        *locked(&self.version) = Some(version).filter(|version| !version.is_empty());
    }

    /// Whether processes can run with it, as far as is known.
    pub(super) fn is_usable(&self) -> Result<(), String> {
        match &*locked(&self.version) {
            Some(version) if too_old(version) => Err(format!(
                "{} is FFmpeg {version}, and {OLDEST}.0 or newer is needed (once there is one: /api/v3/skills/reload)",
                self.program.display()
            )),
            _ => Ok(()),
        }
    }

    /// What it can do.
    ///
    /// # Errors
    /// It cannot be run, in words.
    pub(super) async fn skills(&self, anew: bool) -> Result<Arc<Skills>, String> {
        let known = self.known();
        if let Some(known) = known.as_ref().filter(|_| !anew) {
            return Ok(Arc::clone(known));
        }
        let _asking = self.asking.lock().await;
        match self.known() {
            // Somebody else has asked in the meantime.
            Some(now) if !known.is_some_and(|before| Arc::ptr_eq(&before, &now)) => return Ok(now),
            _ => {}
        }
        let skills = Arc::new(look(&self.program).await?);
        *locked(&self.version) = Some(skills.ffmpeg.version.clone()).filter(|version| !version.is_empty());
        *locked(&self.known) = Some(Arc::clone(&skills));
        Ok(skills)
    }
}

/// Nothing panics while it holds one.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a version is older than processes can do with. One that is no release is not.
fn too_old(version: &str) -> bool {
    version.split('.').next().and_then(|major| major.parse().ok()).is_some_and(|major: u32| major < OLDEST)
}

async fn look(program: &Path) -> Result<Skills, String> {
    let about = |what: &'static str| async move {
        let Said { stdout, stderr, ok } =
            ask(program, vec!["-hide_banner".to_owned(), what.to_owned()], Path::new("/"), PATIENCE).await?;
        match ok {
            true => Ok(stdout),
            false => Err(format!("{} {what} failed: {}", program.display(), stderr.lines().last().unwrap_or_default())),
        }
    };
    let ffmpeg = read::build(&about("-version").await?);
    let (demuxers, muxers) = read::formats(&about("-formats").await?);
    Ok(Skills {
        ffmpeg,
        filter: read::filters(&about("-filters").await?),
        hwaccels: read::hwaccels(&about("-hwaccels").await?),
        codecs: read::codecs(&about("-codecs").await?),
        devices: read::devices(&about("-devices").await?),
        formats: Formats { demuxers, muxers },
        protocols: read::protocols(&about("-protocols").await?),
    })
}
