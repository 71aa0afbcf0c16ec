"""What a process that reads pictures says by itself."""

from panet.data import workers


def test_a_loaders_process_says_nothing_of_a_lost_main_process_but_of_all_else(capsys, monkeypatch) -> None:
    monkeypatch.setattr(workers.sys, "excepthook", None)
    monkeypatch.setattr(workers.os, "setpgid", lambda *_: None)
    monkeypatch.setattr(workers.signal, "signal", lambda *_: None)
    workers.leave_signals(0)
    for error in (EOFError(), ConnectionResetError("gone"), BrokenPipeError("gone")):
        workers.sys.excepthook(type(error), error, None)
    assert capsys.readouterr().err == ""
    workers.sys.excepthook(ValueError, ValueError("a true fault"), None)
    assert "a true fault" in capsys.readouterr().err
