// What the browser keeps for this page: choices for good, the token for the tab's life. A browser that keeps nothing is fine.
function area(name) {
  const read = (key) => { try { return globalThis[name].getItem(key); } catch { return null; } };
  const write = (key, value) => {
    try {
      if (value) globalThis[name].setItem(key, value); else globalThis[name].removeItem(key);
    } catch { /* not kept */ }
  };
  return { read, write };
}

export const choices = area("localStorage");
export const tab = area("sessionStorage");
