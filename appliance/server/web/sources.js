// Where sound comes from: microphones, or what a tab or the system plays.
export const TAB = "tab";

export class SourceError extends Error {
  // `reason` names texts in words.js: insecure, denied, none, busy, silent_tab, other.
  constructor(reason, detail = "") {
    super(detail || reason);
    this.reason = reason;
  }
}

export function canRecord() {
  return Boolean(globalThis.isSecureContext && navigator.mediaDevices?.getUserMedia);
}

// A browser that knows this constraint shares sound; Firefox shares pictures only.
export function canShareSound() {
  const media = globalThis.isSecureContext ? navigator.mediaDevices : null;
  return Boolean(media?.getDisplayMedia && media.getSupportedConstraints().suppressLocalAudioPlayback);
}

// A MediaStream with one sounding track. `choice` is a device's id, TAB, or "" for the browser's own choice.
export async function openSource(choice) {
  if (!canRecord()) throw new SourceError("insecure");
  try {
    return choice === TAB ? await openTab() : await openMicrophone(choice);
  } catch (error) {
    if (error instanceof SourceError) throw error;
    if (choice === TAB && error.name === "NotAllowedError") throw new SourceError("not_shared");
    const reasons = { NotAllowedError: "denied", SecurityError: "denied", NotFoundError: "none", OverconstrainedError: "none", NotReadableError: "busy", AbortError: "busy" };
    throw new SourceError(reasons[error.name] ?? "other", error.message);
  }
}

async function openMicrophone(id) {
  return navigator.mediaDevices.getUserMedia({
    audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true, ...(id && { deviceId: { exact: id } }) },
  });
}

async function openTab() {
  const media = await navigator.mediaDevices.getDisplayMedia({
    video: true, systemAudio: "include", audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  });
  if (media.getAudioTracks().length) return media;
  media.getTracks().forEach((track) => track.stop());
  throw new SourceError("silent_tab");
}

// [id, name] of each microphone; names are empty before the first permission.
export async function microphones() {
  const devices = await navigator.mediaDevices?.enumerateDevices?.() ?? [];
  return devices.filter((device) => device.kind === "audioinput" && !["", "default", "communications"].includes(device.deviceId))
    .map((device) => [device.deviceId, device.label]);
}
