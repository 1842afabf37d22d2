// The live view of an order: one WebSocket message for each new status.
(function () {
  var list = document.getElementById("stages");
  var line = document.getElementById("live");
  function show(status) {
    var done = true;
    for (var li of list.children) {
      li.classList.toggle("done", done);
      if (li.dataset.stage === status) done = false;
    }
    line.textContent = status === "sent" ? "On its way to you." : "Live: " + status;
  }
  show(list.dataset.status);
  var scheme = location.protocol === "https:" ? "wss://" : "ws://";
  var socket = new WebSocket(scheme + location.host + "/live/" + encodeURIComponent(list.dataset.owner) + "/" + encodeURIComponent(list.dataset.order));
  socket.onmessage = function (m) { show(JSON.parse(m.data).status); };
  socket.onerror = function () { line.textContent = "The live view is away; reload to see the status."; };
})();
