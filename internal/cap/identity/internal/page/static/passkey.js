// Passkeys on a form. Its data-options are the options of navigator.credentials as JSON (WebAuthn
// level 3, §5.1.8: binary values are base64url); the answer is posted as JSON in "credential".

const bytes = (s) => Uint8Array.from(atob(s.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));

const text = (buffer) => {
  let s = "";
  for (const b of new Uint8Array(buffer)) s += String.fromCharCode(b);
  return btoa(s).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
};

const withBytes = (list) => (list ?? []).map((c) => ({ ...c, id: bytes(c.id) }));

function read(json) {
  const parsed = JSON.parse(json);
  const o = parsed.publicKey ?? parsed;
  o.challenge = bytes(o.challenge);
  if (o.user) o.user.id = bytes(o.user.id);
  if (o.allowCredentials) o.allowCredentials = withBytes(o.allowCredentials);
  if (o.excludeCredentials) o.excludeCredentials = withBytes(o.excludeCredentials);
  return o;
}

function write(credential) {
  const r = credential.response;
  const response = { clientDataJSON: text(r.clientDataJSON) };
  if (r.attestationObject) {
    response.attestationObject = text(r.attestationObject);
    response.transports = r.getTransports?.() ?? [];
  } else {
    response.authenticatorData = text(r.authenticatorData);
    response.signature = text(r.signature);
    if (r.userHandle) response.userHandle = text(r.userHandle);
  }
  return JSON.stringify({
    id: credential.id,
    rawId: text(credential.rawId),
    type: credential.type,
    authenticatorAttachment: credential.authenticatorAttachment ?? undefined,
    clientExtensionResults: credential.getClientExtensionResults(),
    response,
  });
}

async function prepare(form) {
  const status = form.querySelector("[data-status]");
  const start = form.querySelector("[data-start]");
  let running;

  const ask = async (mediation) => {
    running?.abort();
    const mine = (running = new AbortController());
    status.textContent = "";
    try {
      const request = { publicKey: read(form.dataset.options), signal: mine.signal };
      if (mediation) request.mediation = mediation;
      const credential = await navigator.credentials[form.dataset.passkey](request);
      form.elements.credential.value = write(credential);
      form.submit();
    } catch {
      // Which of the reasons it was, browsers don't tell. Only who asked by the button waits for an answer.
      if (!mediation && !mine.signal.aborted) status.textContent = status.dataset.failed;
    }
  };

  start.hidden = false;
  start.addEventListener("click", () => form.reportValidity() && ask());
  if ("conditional" in form.dataset && (await PublicKeyCredential.isConditionalMediationAvailable?.())) ask("conditional");
}

if (window.PublicKeyCredential) for (const form of document.querySelectorAll("form[data-passkey]")) prepare(form);
