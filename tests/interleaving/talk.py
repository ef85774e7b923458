"""One connection to Postgres, on which every statement stops at the gate, before it is sent and
before it is answered."""

from interleaving.frames import (
    BEGIN,
    COMMIT,
    ENDS,
    IN_TRANSACTION,
    Cut,
    Ends,
    Frame,
    begin_session,
    read_batch,
    read_frame,
    sqlstate,
)
from interleaving.gate import Way
from interleaving.line import Line


class Talk:
    """One connection, both ends of it."""

    def __init__(self, line: Line, client: Ends, server: Ends) -> None:
        self._line = line
        self._client = client
        self._server = server
        self._statements: dict[bytes, str] = {}
        self._pid = 0
        self._in_transaction = False
        self._gone = False

    def hang_up(self) -> None:
        """The client is gone."""
        self._gone = True
        self._client[1].transport.abort()

    async def run(self) -> None:
        """Passes on what both say, until one of them ends the connection, or the story cuts it."""
        self._line.beginning += 1
        try:
            self._pid = await begin_session(self._client, self._server)
        finally:
            self._line.beginning -= 1
        try:
            while True:
                batch = await read_batch(self._client[0])
                name, whole = self._name(batch), b"".join(kind + body for kind, body in batch)
                if name is None:
                    answer = await self._exchange(whole, "its preparation", ENDS[batch[-1][0]])
                else:
                    answer = await self._gated(name, whole)
                self._client[1].write(answer)
        finally:
            self._line.held.discard(self._pid)
            self._line.busy.discard(self._pid)

    def _name(self, batch: list[Frame]) -> str | None:
        """What stops at the gate; None: it does not."""
        for kind, body in batch:
            if kind == b"P":
                statement, text = body[4:].split(b"\x00")[:2]
                self._statements[statement] = self._line.names.get(text, "")
            if kind == b"B":
                return self._statements.get(body[4:].split(b"\x00")[1]) or None
            if kind == b"Q" and body[4:].upper().startswith(b"COMMIT"):
                return "commit"
        return None

    async def _gated(self, name: str, batch: bytes) -> bytes:
        """The answer. Raises Cut where the connection is cut before, or it is lost."""
        how = await self._stop(name)
        if how is Way.HOLD and not self._in_transaction:
            return await self._in_open_transaction(name, batch)
        answer = await self._exchange(batch, name)
        if how is Way.STEP and not self._gone:
            how = await self._stop(name, done=True)
        return self._told(answer, how)

    async def _in_open_transaction(self, name: str, batch: bytes) -> bytes:
        """The same, in a transaction that is only committed once the story says so."""
        await self._exchange(BEGIN, "begin")
        answer = await self._exchange(batch, name)
        how = await self._stop(f"the commit of {name}")
        await self._exchange(COMMIT, f"the commit of {name}")
        return self._told(answer[:-1] + b"I", how)

    async def _stop(self, what: str, *, done: bool = False) -> Way:
        if self._gone:
            raise Cut
        how = await self._line.gate.statement(self._line.owner, what, done=done)
        if how is Way.CUT:
            raise Cut
        return how

    def _told(self, answer: bytes, how: Way) -> bytes:
        if how is Way.LOST or self._gone:
            raise Cut
        return answer

    async def _exchange(self, batch: bytes, name: str, ends: bytes = b"Z") -> bytes:
        """What the server answers, up to where it has done its part."""
        await self._line.turn.take()
        if self._gone:
            raise Cut
        self._line.held.discard(self._pid)
        self._line.busy.add(self._pid)
        self._server[1].write(batch)
        answer = b""
        while True:
            kind, body = await read_frame(self._server[0])
            answer += kind + body
            if kind == b"E":
                self._line.refusals.append((name, sqlstate(body[4:])))
            if kind in ends:
                break
        self._line.busy.discard(self._pid)
        if kind == b"Z":
            self._in_transaction = answer[-1] == IN_TRANSACTION
        if self._in_transaction:
            self._line.held.add(self._pid)
        return answer
