const vscode = require("vscode");

async function callEcho() {
  const echo = vscode.lm.tools.find((tool) => tool.name.endsWith("echo"));
  const input = { text: "called in VS Code" };
  const { content } = await vscode.lm.invokeTool(echo.name, { input, toolInvocationToken: undefined });
  await vscode.window.showInformationMessage(`Result: ${JSON.stringify(content)}`);
}

exports.activate = (context) =>
  context.subscriptions.push(vscode.commands.registerCommand("tests.callEcho", callEcho));
