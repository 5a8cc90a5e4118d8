// Cameras and microphones: lists them, opens them, and explains why that failed. `local` is what this
// page sends.

const reasons = {
  NotAllowedError: 'Access to the camera or microphone was refused. Allow it in the address bar, then try again.',
  NotFoundError: 'No camera or microphone was found.',
  NotReadableError: 'The camera or microphone is in use by another program.',
  OverconstrainedError: 'This camera or microphone is no longer connected.',
};

export const local = { video: null, audio: null, screen: null, microphoneOn: true, cameraOn: true };

export function stopLocal(...kinds) {
  for (const kind of kinds) {
    local[kind]?.stop();
    local[kind] = null;
  }
}

export function explain(error) {
  return reasons[error?.name] ?? `The camera or microphone cannot be opened: ${error?.message ?? error}.`;
}

export function supported() {
  return Boolean(navigator.mediaDevices?.getUserMedia);
}

const video = (deviceId) => ({
  ...(deviceId ? { deviceId: { exact: deviceId } } : {}),
  width: { ideal: 1280 },
  height: { ideal: 720 },
  frameRate: { ideal: 30 },
});
const audio = (deviceId) => ({ ...(deviceId ? { deviceId: { exact: deviceId } } : {}) });

// Opens camera and microphone; if one of them fails, the other alone. Returns { video, audio, problem }.
export async function open({ cameraId, microphoneId, wantVideo = true, wantAudio = true }) {
  const opened = { video: null, audio: null, problem: null };
  if (!supported()) {
    opened.problem = 'The browser does not allow cameras on this page. Open it with https:// or on localhost.';
    return opened;
  }
  if (wantVideo && wantAudio) {
    try {
      const stream = await navigator.mediaDevices.getUserMedia(
        { video: video(cameraId), audio: audio(microphoneId) });
      [opened.video] = stream.getVideoTracks();
      [opened.audio] = stream.getAudioTracks();
      return opened;
    } catch (error) {
      opened.problem = explain(error);
    }
  }
  if (wantVideo) {
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ video: video(cameraId) });
      [opened.video] = stream.getVideoTracks();
    } catch (error) {
      opened.problem = explain(error);
    }
  }
  if (wantAudio) {
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: audio(microphoneId) });
      [opened.audio] = stream.getAudioTracks();
    } catch (error) {
      opened.problem ??= explain(error);
    }
  }
  return opened;
}

export async function list() {
  if (!supported()) return { cameras: [], microphones: [] };
  const all = await navigator.mediaDevices.enumerateDevices();
  return {
    cameras: all.filter((d) => d.kind === 'videoinput'),
    microphones: all.filter((d) => d.kind === 'audioinput'),
  };
}

export async function screen() {
  const stream = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: 15 } } });
  return stream.getVideoTracks()[0];
}
